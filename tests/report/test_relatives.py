"""Relatives in a gallery are worked out once for the same adapters, and again where they are others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.derived import derived, keep_derived
from lorakit.report import relatives
from lorakit.report.relatives import relatives_of
from lorakit.tracing import neighbours
from tests.models import lora_file, random_lora, usual_names


@pytest.fixture
def worked_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many adapters were compared, for each time that they were."""
    found: list[int] = []
    original = neighbours.all_neighbours

    def watched(shelf: neighbours.Shelf, *rest: object) -> object:
        found.append(len(shelf.contents))
        return original(shelf, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(neighbours, "all_neighbours", watched)
    return found


def shown(catalog: Catalog, like: int = 6) -> dict[str, list[tuple[str, str, float]]]:
    """The relatives of each adapter by name, in words."""
    warned: list[str] = []
    records = catalog.adapters()
    found = relatives_of(catalog, records, like, lambda done, total, what: None, warned.append)
    assert warned == []
    return {
        one.name: [
            (near.record.name, near.likeness.words, near.likeness.cosine)
            for near in found.get(one.tensor_sha256, ())
        ]
        for one in records
    }


def test_the_next_gallery_of_the_same_adapters_compares_nothing(
    catalog: Catalog, worked_out: list[int]
) -> None:
    first = shown(catalog)
    assert [near[:2] for near in first["ink"]] == [("ink-half", "scaled by 0.50")]
    assert shown(catalog) == first
    assert worked_out == [3]
    # Names are those of now, whatever they were when it was worked out.
    catalog.rename(catalog.resolve("ink-half").id, "pale")
    assert [near[0] for near in shown(catalog)["ink"]] == ["pale"]
    assert worked_out == [3]
    assert shown(catalog, like=0)["ink"] == []


def test_other_adapters_or_another_number_are_compared_anew(
    catalog: Catalog, worked_out: list[int], tmp_path: Path
) -> None:
    shown(catalog)
    shown(catalog, like=1)
    third = random_lora(usual_names(3), 3)
    lora_file(tmp_path / "loras" / "third.safetensors", third, "diffusers")
    catalog.add([tmp_path / "loras"])
    assert {near[0] for near in shown(catalog)["ink"]} == {"ink-half", "third"}
    assert worked_out == [3, 3, 4]


def test_what_is_kept_and_cannot_be_read_is_worked_out_again(
    catalog: Catalog, worked_out: list[int]
) -> None:
    first = shown(catalog)
    kept = derived(catalog, relatives._KIND)
    assert len(kept) == 3
    whole = kept[catalog.resolve("ink").tensor_sha256]
    for damaged in (b"", b"[]", whole[:-9], whole.replace(b'"chance"', b'"luck"')):
        keep_derived(catalog, relatives._KIND, dict.fromkeys(kept, damaged))
        assert shown(catalog) == first
    assert worked_out == [3] * 5
