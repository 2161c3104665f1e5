from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lorakit.cli.main import run
from tests.cli.conftest import Cli

QUICK = ("--size", "64x64", "--steps", "2", "--device", "cpu")
PAIRS = ("-p", "@ink, @wash, a sea", "--seed", "1-3")


@pytest.fixture(scope="session")
def made(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of three pairs, blind, and a catalog that knows of it."""
    home, folder = tmp_path_factory.mktemp("ab-home") / "home", tmp_path_factory.mktemp("ab") / "ab"
    shutil.copytree(demo_home, home)
    words = ("ink:0.8", "wash:0.8", *PAIRS, *QUICK, "--blind", "-q", "-o", str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAKIT_HOME", str(home))
        assert run(["ab", "run", *words]) == 0
    return home, folder


@pytest.fixture
def compared(cli: Cli, home: Path, made: tuple[Path, Path]) -> Path:
    """The folder of that comparison, in a catalog without votes."""
    shutil.copytree(made[0], home)
    return made[1]


@pytest.fixture
def ready(request: pytest.FixtureRequest, cli: Cli, home: Path, demo_home: Path) -> Cli:
    """The command line with the demo's model in its catalog, and the comparison where a test names it."""
    if "compared" not in request.fixturenames:
        shutil.copytree(demo_home, home)
    return cli


def tally(cli: Cli, *words: str | Path) -> dict[str, object]:
    (found,) = cli("ab", "show", *words, "--json").document["comparisons"]
    assert isinstance(found, dict)
    return found


def order(cli: Cli, folder: Path) -> list[str]:
    """What is A in each pair, as `show` tells once all is voted."""
    votes = tally(cli, folder, "--reveal")["votes"]
    assert isinstance(votes, list)
    return [vote["a"] for vote in votes]


def test_a_comparison_from_pictures_to_verdict(ready: Cli, compared: Path) -> None:
    assert sorted(p.name for p in compared.iterdir()) == ["ab.json", "index.html", "pictures"]
    ran = ready("ab", "vote", compared, "1=a", "2=b")
    assert ran.code == 0
    # What the first votes were for would sway the others.
    assert "ink" not in ran.out
    assert "hidden" in ran.out
    assert tally(ready, compared)["sides"] is None
    last = ready("ab", "vote", compared, "3==")
    assert "neither" in last.out
    assert "cannot tell the two apart" in last.out
    found = tally(ready)
    assert found["voted"] == 3
    assert found["same"] == 1
    assert set(order(ready, compared)) == {"ink:0.8", "wash:0.8"}


def test_a_vote_goes_to_the_side_that_was_shown(ready: Cli, compared: Path) -> None:
    ready("ab", "vote", compared, "1=a", "2=a", "3=a")
    shown = order(ready, compared)
    found = tally(ready, compared)
    assert (found["first"], found["second"]) == (shown.count("ink:0.8"), shown.count("wash:0.8"))
    assert found["chosen_as_a"] == 3
    ready("ab", "vote", compared, "1=b", "2=b", "3=b")
    found = tally(ready, compared)
    assert (found["first"], found["second"]) == (shown.count("wash:0.8"), shown.count("ink:0.8"))


def test_votes_are_asked_for_one_by_one(ready: Cli, compared: Path) -> None:
    ran = ready("ab", "vote", compared, stdin="a\nwhat\ns\n=\n")
    assert ran.code == 0
    assert "Pair 1 of 3: @ink, @wash, a sea, seed 1" in ran.err
    assert ran.err.count("a, b, = (the same)") == 4
    assert tally(ready, compared)["voted"] == 2
    # Only what was passed over is asked for again, and an end of input is an end.
    again = ready("ab", "vote", compared, stdin="")
    assert "Pair 2 of 3" in again.err
    assert "Pair 1 of 3" not in again.err
    assert tally(ready, compared)["voted"] == 2


def test_votes_are_read_from_the_file_of_the_page(
    ready: Cli, compared: Path, tmp_path: Path
) -> None:
    name = ready("ab", "show", "-q").lines[0]
    file = tmp_path / "votes.json"
    document = {
        "schema": "lorakit/ab-votes/1",
        "comparison": name,
        "votes": {"1": "a", "3": "same"},
    }
    file.write_text(json.dumps(document))
    assert ready("ab", "vote", file).code == 0
    assert tally(ready, name)["voted"] == 2
    ready("ab", "vote", file, "2=a").failed_with(2, "not from both")
    file.write_text(json.dumps({**document, "comparison": "ab-unknown"}))
    ready("ab", "vote", file).failed_with(1, "ab-unknown")
    file.write_text(json.dumps({**document, "votes": {"9": "a"}}))
    ready("ab", "vote", file).failed_with(2, "pair 9")
    file.write_text("no")
    ready("ab", "vote", file).failed_with(4, "votes.json")
    assert tally(ready, name)["voted"] == 2


def test_the_same_command_goes_on_and_another_is_refused(ready: Cli, compared: Path) -> None:
    words = ("ink:0.8", "wash:0.8", *PAIRS, *QUICK, "--blind", "-o", compared)
    ready("ab", "vote", compared, "1=a")
    times = {path: path.stat().st_mtime_ns for path in (compared / "pictures").iterdir()}
    name = ready("ab", "show", "-q").out
    assert ready("ab", "run", *words, "-q").out == name
    assert {path: path.stat().st_mtime_ns for path in (compared / "pictures").iterdir()} == times
    assert tally(ready)["voted"] == 1
    ready("ab", "run", *words, "--cfg", "2").failed_with(2, "another request: its cfg")


def test_comparisons_of_the_same_two_are_counted_together(ready: Cli, tmp_path: Path) -> None:
    for number, sides in enumerate((("ink:0.8", ""), ("", "ink:0.8"))):
        folder = tmp_path / str(number)
        words = (*sides, "-p", "@ink, a sea", "--seed", str(number), *QUICK, "-o", folder)
        assert ready("ab", "run", *words).code == 0
        # In the open A is the first side: once the stack, once the base alone.
        assert ready("ab", "vote", folder, "1=a").code == 0
    (total,) = ready("ab", "show", "--json").document["totals"]
    assert (total["names"], total["first"], total["second"]) == (["ink:0.8", "no adapter"], 1, 1)
    assert "Together" in ready("ab", "show").out


def test_without_comparisons_there_is_a_hint(cli: Cli) -> None:
    assert "lorakit ab run" in cli("ab", "show").out
    assert cli("ab", "show", "--json").document["comparisons"] == []
    cli("ab", "show", "nothing").failed_with(1, "nothing")
    cli("ab", "vote", "nothing", "1=a").failed_with(1, "nothing")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ink",), "same"),
        (("ink", "ink"), "same"),
        (("a", "b", "c"), "two stacks"),
        (("ink", "-b", "a", "-b", "b", "-b", "c"), "two bases"),
        (("ink", "", "--size", "100x100"), "multiple of 16"),
        (("ink", "", "--steps", "0"), "steps"),
        (("ink", "", "--seed", "1-2000"), "pictures"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_comparison_is_refused_before_any_work(
    cli: Cli, words: tuple[str, ...], said: str
) -> None:
    cli("ab", "run", *words).failed_with(2, said)


def test_a_failed_start_leaves_nothing_behind(ready: Cli, tmp_path: Path) -> None:
    words = ("ink", "", *QUICK, "-o", tmp_path / "ab", "--components", tmp_path)
    assert ready("ab", "run", *words).code == 1
    ready("ab", "run", "ink", "gouache", "-o", tmp_path / "ab").failed_with(1, "gouache")
    assert not (tmp_path / "ab").exists()
    assert ready("ab", "show", "--json").document["comparisons"] == []
