"""The tables of docs/methods.md: methods, papers, options, defaults and ranges are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorakit.errors import BadUsage
from lorakit.merging.methods.table import METHODS, Method, method_named, settled

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first column is called so, without their marks."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


OPTIONS = [
    (method.strip(), name, default, bounds)
    for name, methods, default, bounds, _ in table("option")
    for method in methods.split(",")
]


def test_every_method_is_there_with_its_paper_and_its_options() -> None:
    rows = table("method")
    assert [row[0] for row in rows] == list(METHODS)
    for name, _, options, paper in rows:
        method = METHODS[name]
        assert paper == method.paper.rpartition(" ")[2]
        words = set(re.findall(r"\w+", options.replace("and its options", "")))
        inside = {"density", "drop", "window"} if "in_core" in words else set()
        assert words | inside == method.options.keys()


def test_every_option_is_there_once_for_each_method() -> None:
    stated = [(method, name) for method, name, _, _ in OPTIONS]
    assert len(stated) == len(set(stated))
    assert set(stated) == {(m.name, name) for m in METHODS.values() for name in m.options}


@pytest.mark.parametrize(("method", "name", "default", "bounds"), OPTIONS)
def test_defaults_and_ranges_are_what_the_command_takes(
    method: str, name: str, default: str, bounds: str
) -> None:
    chosen = method_named(method)
    plain = settled(chosen, {})[name]
    assert str(plain) == default or float(plain) == float(default)
    if " to " not in bounds:
        words = [word.strip() for word in bounds.split(",")]
        assert tuple(words) == chosen.options[name].choices
        for word in words:
            assert settled(chosen, {name: word})[name] == word
        with pytest.raises(BadUsage, match=name):
            settled(chosen, {name: "median"})
        return
    bounds, _, never = bounds.partition(", not ")
    low, high = map(float, bounds.split(" to "))
    refused = [float(never)] if never else []
    for inside in {low, high}.difference(refused):
        assert settled(chosen, {name: inside, **_beside(chosen, name)})[name] == inside
    for outside in (low - 0.001, high + 0.001, *refused):
        with pytest.raises(BadUsage, match=name):
            settled(chosen, {name: outside})


def _beside(method: Method, name: str) -> dict[str, float]:
    """A window that lets `drop` be 0 or nearly 1."""
    return {"window": 0.0} if name == "drop" and "window" in method.options else {}
