from __future__ import annotations

import re
from importlib import import_module

import pytest

from lorakit import __version__
from lorakit.cli.overview import VERBS
from tests.cli.conftest import Cli

SUB_VERBS = {"ab": ("run", "vote", "show"), "base": ("add", "ls")} | {
    "collection": ("new", "add", "remove", "ls", "show", "rename", "change", "rm")
}
PAGES = [(verb.name,) for verb in VERBS] + [
    (verb, sub) for verb, subs in SUB_VERBS.items() for sub in subs
]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_verbs_are_listed_by_task(cli: Cli, words: tuple[str, ...]) -> None:
    ran = cli(*words)
    assert (ran.code, ran.err) == (0, "")
    titles = [line for line in ran.lines if line.istitle() and line.isalpha()]
    assert titles == ["Collect", "Look", "Stack", "Make", "Share", "Learn", "Options"]
    listed = [line.split()[0] for line in ran.lines if re.match(r"  [a-z]", line)]
    assert listed == [verb.name for verb in VERBS]
    assert max(map(len, ran.lines)) <= 80


def test_the_overview_says_of_each_verb_what_its_own_page_says() -> None:
    for verb in VERBS:
        module = import_module(f"lorakit.cli.{verb.module}")
        if hasattr(module, "app"):
            assert module.app.info.help == verb.summary
        else:
            documented = str(getattr(module, f"{verb.module}_verb").__doc__)
            assert documented.split("\n\n")[0].strip() == verb.summary


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_verb_has_help_with_one_example_of_itself(cli: Cli, words: tuple[str, ...]) -> None:
    ran = cli(*words, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("Example: ") == 1
    assert re.search(rf"Example: `lorakit {' '.join(words)}[ `]", " ".join(ran.out.split()))
    assert max(map(len, ran.lines)) <= 80
    described = ran.out.split("Usage:")[1].splitlines()[2]
    assert described.strip()


def test_every_option_says_what_it_does(cli: Cli) -> None:
    for words in PAGES:
        for line in cli(*words, "--help").lines:
            if line.startswith(("│ --", "│ *")):
                # Name, kind, and at least two words of help.
                assert len(line.strip("│ ").split()) >= 3, (words, line)


def test_a_mistyped_verb_or_option_is_met_with_the_right_one(cli: Cli) -> None:
    for words, wanted in (
        (("stak",), "stack"),
        (("inspct", "x"), "inspect"),
        (("base", "ad"), "add"),
        (("ls", "--jsn"), "--json"),
    ):
        ran = cli(*words)
        assert (ran.code, ran.out) == (2, "")
        assert wanted in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "words", [("add",), ("inspect",), ("stack",), ("export", "ink"), ("base", "add"), ("base",)]
)
def test_missing_words_are_a_usage_error(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words).code == 2


def test_the_version_is_one_line(cli: Cli) -> None:
    for words in (("--version",), ("--version", "ls")):
        assert cli(*words).out == f"lorakit {__version__}\n"
