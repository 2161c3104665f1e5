"""A command that changes nothing leaves no step: done twice, it is in the journal once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

COMMANDS = [
    ("tag", "ink", "--add", "night,Sumi"),
    ("tag", "ink", "--remove", "nothing"),
    ("note", "ink", "--rating", "4", "--text", "calm", "--strength", "0.8,0.6..1"),
    ("note", "ink", "--clear", "rating"),
    ("collection", "add", "best", "wash"),
    ("collection", "remove", "best", "wash"),
    ("collection", "rename", "best", "best"),
    ("collection", "change", "best", "--notes", "calm"),
    ("export-metadata", "ink", "--to", "a1111"),
    ("license", "set", "wash", "--license", "CC0-1.0", "--source", "its page"),
    ("scan",),
    ("scan", "--reread"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_the_second_time_is_no_step(cli: Cli, folder: Path, words: tuple[str, ...]) -> None:
    (folder / "ink.txt").write_text("a mill in ink", encoding="utf-8")
    assert cli("add", folder).code == 0
    assert cli("collection", "new", "best", "ink").code == 0
    assert cli(*words).code == 0
    before = cli("undo", "--list", "--json").document["steps"]
    assert before
    assert cli(*words).code == 0
    assert cli("undo", "--list", "--json").document["steps"] == before
