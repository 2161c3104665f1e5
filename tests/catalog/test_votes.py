from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.errors import Ambiguous, NotFound

SIDES = ({"name": "old", "stack": ""}, {"name": "new", "stack": ""})
PAIRS = (("a sea", 1), ("a <town>", 2**40))


def record(catalog: Catalog, name: str, folder: str = "/somewhere", blind: bool = True) -> None:
    catalog.record_comparison(
        name, folder=folder, sides=SIDES, pairs=PAIRS, blind=blind, order_seed=2**40
    )


def test_a_comparison_is_kept_as_it_was_made(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c.db") as catalog:
        record(catalog, "ab-1")
    with Catalog.open(tmp_path / "c.db") as catalog:
        (found,) = catalog.comparisons()
    assert (found.name, found.folder, found.blind) == ("ab-1", "/somewhere", True)
    assert (found.sides, found.pairs, found.order_seed) == (SIDES, PAIRS, 2**40)
    assert found.votes == {}


def test_votes_are_kept_and_a_later_one_replaces_the_earlier(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c.db") as catalog:
        record(catalog, "ab-1")
        record(catalog, "ab-2")
        catalog.vote("ab-1", {1: "first", 2: "same"})
        catalog.vote("ab-1", {1: "second"})
        assert catalog.comparison("ab-1").votes == {1: "second", 2: "same"}
        assert catalog.comparison("ab-2").votes == {}
        with pytest.raises(NotFound):
            catalog.vote("ab-3", {1: "first"})


def test_a_comparison_that_is_made_again_moves_and_keeps_its_votes(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c.db") as catalog:
        record(catalog, "ab-1")
        catalog.vote("ab-1", {1: "first"})
        record(catalog, "ab-1", folder="/elsewhere")
        (found,) = catalog.comparisons()
    assert (found.folder, found.votes) == ("/elsewhere", {1: "first"})


def test_a_comparison_is_found_by_name_beginning_and_folder(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c.db") as catalog:
        record(catalog, "ab-12", folder="/one")
        record(catalog, "ab-13", folder="/two")
        assert catalog.comparison("ab-13").name == "ab-13"
        assert catalog.comparison("/one").name == "ab-12"
        record(catalog, "ab-1")
        assert catalog.comparison("ab-1").name == "ab-1"
        with pytest.raises(Ambiguous, match="ab"):
            catalog.comparison("ab")
        with pytest.raises(NotFound, match="nothing"):
            catalog.comparison("nothing")
