"""Relatives among adapters of the catalog that have enough modules to be told apart coarsely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lorakit.catalog import AdapterRecord, Catalog
from lorakit.catalog.derived import derived_file
from lorakit.sketches.sketch import Sketch
from lorakit.tracing import neighbours
from lorakit.tracing.neighbours import all_neighbours, shelve, similar_to
from tests.models import lora_file, random_lora, usual_names

NAMES = usual_names(8)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Twelve strangers, and one at half the size of the first, under two headers."""
    folder = tmp_path / "loras"
    folder.mkdir()
    for seed in range(12):
        lora_file(folder / f"style-{seed:02}.safetensors", random_lora(NAMES, 8, seed=seed))
    first = random_lora(NAMES, 8, seed=0)
    half = {name: replace(module, scale=0.5) for name, module in first.items()}
    lora_file(folder / "half.safetensors", half)
    lora_file(folder / "half-too.safetensors", half, metadata={"modelspec.title": "Half"})
    with Catalog.open(tmp_path / "catalog.db") as opened:
        assert len(opened.add([folder]).added) == 14
        yield opened


def test_all_at_once_finds_what_each_alone_finds(catalog: Catalog) -> None:
    shelf = shelve(catalog, catalog.adapters())
    assert len(shelf.contents) == 13
    everyone = all_neighbours(shelf, 5)
    for record in catalog.adapters():
        content = record.tensor_sha256
        alone = similar_to(shelf, shelf.sketch(content), content, but=record.id)
        others = {one.record.name for one in alone if one.record.tensor_sha256 != content}
        assert {one.record.name for one in everyone[content]} == others
    first = catalog.resolve("style-00").tensor_sha256
    found = {one.record.name: one.likeness.words for one in everyone[first]}
    assert found == {"half": "scaled by 0.50", "half-too": "scaled by 0.50"}
    assert everyone[catalog.resolve("style-03").tensor_sha256] == []


def test_few_are_listed_when_few_are_asked_for(catalog: Catalog) -> None:
    shelf = shelve(catalog, catalog.adapters())
    first = catalog.resolve("style-00").tensor_sha256
    assert len(similar_to(shelf, shelf.sketch(first), first, limit=1)) == 1
    assert len(all_neighbours(shelf, 1)[first]) == 1


def test_what_is_kept_is_not_taken_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    shelve(catalog, catalog.adapters())
    read: list[str] = []
    original = neighbours.sketch_of

    def sketch_of(catalog: Catalog, record: AdapterRecord) -> Sketch:
        read.append(record.name)
        return original(catalog, record)

    monkeypatch.setattr(neighbours, "sketch_of", sketch_of)
    assert len(shelve(catalog, catalog.adapters()).contents) == 13
    assert read == []
    derived_file(catalog).unlink()
    assert len(shelve(catalog, catalog.adapters()).contents) == 13
    assert len(read) == 13
