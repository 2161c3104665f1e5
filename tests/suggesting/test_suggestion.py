"""What decides on a suggested strength, and what is only said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.suggesting.sources import read_sources
from lorakit.suggesting.suggestion import Suggestion, suggest
from tests.catalog.factories import write_adapter


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.db") as opened:
        opened.add([write_adapter(tmp_path / "ink.safetensors", 1)])
        opened.add([write_adapter(tmp_path / "wash.safetensors", 2)])
        yield opened


def side(catalog: Catalog, **strengths: float) -> Mapping[str, Any]:
    text = " ".join(f"{name}:{strength}" for name, strength in strengths.items())
    hashes = [catalog.resolve(name).file_sha256 for name in strengths]
    return {"name": text, "base": "b", "base_sha256": "0", "stack": text, "adapters": hashes}


def compared(catalog: Catalog, sides: list[Mapping[str, Any]], votes: Mapping[int, Any]) -> None:
    pairs = [("a sea", seed) for seed in range(10)]
    catalog.record_comparison(
        "ab-1", folder="ab", sides=sides, pairs=pairs, blind=True, order_seed=1
    )
    catalog.vote("ab-1", votes)


def suggested(catalog: Catalog, name: str = "ink") -> Suggestion:
    return suggest(read_sources(catalog, None), catalog.resolve(name))


def test_nothing_is_suggested_where_nothing_speaks_for_it(catalog: Catalog) -> None:
    found = suggested(catalog)
    assert (found.value, found.by, found.evidence, found.text) == (None, None, (), "")


def test_votes_that_tell_two_strengths_apart_decide(catalog: Catalog) -> None:
    sides = [side(catalog, ink=0.6, wash=0.5), side(catalog, ink=0.8, wash=0.5)]
    compared(catalog, sides, {n: "first" if n > 1 else "second" for n in range(1, 11)})
    found = suggested(catalog)
    assert (found.by, found.value) == ("votes", 0.6)
    # 9 of 10 at even odds: 2 * (1 + 10) / 1024.
    assert found.evidence[0].text == "You preferred 0.6 to 0.8 in 9 of 10 pairs (p = 0.021)."
    assert suggested(catalog, "wash").evidence == ()


def test_votes_that_cannot_tell_are_said_and_decide_nothing(catalog: Catalog) -> None:
    compared(
        catalog,
        [side(catalog, ink=0.6), side(catalog, ink=0.8)],
        {1: "first", 2: "second", 3: "first", 4: "same"},
    )
    found = suggested(catalog)
    assert found.value is None
    assert "cannot tell 0.6 from 0.8: 2 of 3 pairs" in found.evidence[0].text


def test_votes_between_stacks_that_differ_in_more_say_nothing(catalog: Catalog) -> None:
    sides = [side(catalog, ink=0.6, wash=0.5), side(catalog, ink=0.8, wash=0.9)]
    compared(catalog, sides, dict.fromkeys(range(1, 11), "first"))
    assert suggested(catalog).evidence == ()


def test_programs_are_named_and_the_first_of_them_decides(catalog: Catalog) -> None:
    content = catalog.resolve("ink").tensor_sha256
    said = {"value": 0.9, "min": None, "max": None}
    catalog.set_fact(content, "strength", {**said, "value": 0.5}, "swarmui")
    catalog.set_fact(content, "strength", {**said, "min": 0.7, "max": 1.1}, "lora-manager")
    found = suggested(catalog)
    assert (found.by, found.text) == ("program", "0.9 (0.7 to 1.1)")
    assert [e.text for e in found.evidence] == [
        "LoRA Manager says 0.9, from 0.7 to 1.1.",
        "SwarmUI says 0.5.",
    ]
    catalog.set_fact(content, "strength", {"value": 0.4})
    assert suggested(catalog).by == "yours"
    assert suggested(catalog).text == "0.4"


def test_a_kept_stack_that_cannot_be_read_spoils_nothing(catalog: Catalog) -> None:
    catalog.keep_stack("broken", "not TOML at all [")
    assert suggested(catalog).evidence == ()
