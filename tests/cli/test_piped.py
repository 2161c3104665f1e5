"""What is piped into another program: no line of it ends with spaces."""

from __future__ import annotations

from tests.cli.conftest import Cli

READING = [
    ("ls",),
    ("inspect", "ink"),
    ("inspect", "ink", "--spectrum"),
    ("similar", "ink"),
    ("strength", "ink"),
    ("stack", "ink:0.8 wash"),
    ("check", "ink:0.8", "wash:0.5"),
    ("base", "ls"),
    ("license", "show", "ink"),
    ("license", "audit"),
    ("doctor",),
    ("tag",),
    ("tag", "--help"),
    ("base", "--help"),
    ("undo", "--list"),
    ("collection", "ls"),
    ("scan", "--discover", "."),
]


def test_no_line_ends_with_spaces(stocked: Cli) -> None:
    stocked("tag", "ink", "--add", "night")
    for words in READING:
        ran = stocked(*words)
        assert ran.code in (0, 1), ran.err
        assert ran.out, words
        assert [line for line in ran.out.split("\n") if line.endswith(" ")] == [], words
