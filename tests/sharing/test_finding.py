"""Which file a record means: whole hashes before their beginnings, and those before names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog.records import AdapterRecord
from lorakit.errors import Ambiguous, NotFound
from lorakit.formats.generation import Generation, UsedAdapter
from lorakit.sharing.finding import Found, find_ingredients
from tests.sharing.machines import Machine, machine, write_lora


def found(machine: Machine, *used: UsedAdapter, **more: str) -> Found:
    return find_ingredients(machine.catalog, Generation("test", adapters=used, **more))  # type: ignore[arg-type]


def names(machine: Machine, *used: UsedAdapter) -> list[str]:
    return [entry.name for entry in found(machine, *used).stack]


def record(machine: Machine, name: str) -> AdapterRecord:
    return machine.catalog.resolve(name)


@pytest.mark.parametrize("digits", [8, 10, 12, 64])
@pytest.mark.parametrize("kind", ["file_sha256", "tensor_sha256"])
def test_any_usual_hash_leads_to_the_file(mine: Machine, digits: int, kind: str) -> None:
    digest = getattr(record(mine, "wash"), kind)[:digits]
    # The name is another adapter's: the hash wins, and that is said.
    result = found(mine, UsedAdapter("ink", (digest,), ("1",)))
    assert [entry.name for entry in result.stack] == ["wash"]
    (remark,) = result.remarks
    assert "ink is called wash here" in remark


def test_a_name_that_nothing_else_has_is_no_news(mine: Machine) -> None:
    digest = record(mine, "wash").file_sha256
    assert found(mine, UsedAdapter("tusche", (digest,), ("1",))).remarks == ()


def test_a_whole_hash_counts_before_the_beginning_of_one(mine: Machine) -> None:
    short, whole = record(mine, "ink").file_sha256[:12], record(mine, "wash").tensor_sha256
    assert names(mine, UsedAdapter("x", (short, whole), ("1",))) == ["wash"]


def test_a_name_is_the_last_resort_and_that_is_said(mine: Machine) -> None:
    other = found(mine, UsedAdapter("INK", ("0" * 64,), ("1",)))
    assert [entry.name for entry in other.stack] == ["ink"]
    assert "another hash" in other.remarks[0]
    assert "another version" in found(mine, UsedAdapter("ink", (), ("1",))).remarks[0]


def test_everything_that_is_missing_is_listed_by_name_and_hash(mine: Machine) -> None:
    with pytest.raises(NotFound) as error:
        found(
            mine,
            UsedAdapter("ink", (), ("1",)),
            UsedAdapter("fog", ("f0" * 32,), ("1",)),
            UsedAdapter("rain", (), ("1",)),
            base_name="anima",
            base_hash="a" * 10,
        )
    said = str(error.value)
    assert (
        "fog (sha256 f0f0f0f0f0f0), the adapter rain and the base anima (sha256 aaaaaaaaaa)" in said
    )
    assert "ink" not in said


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Machine]:
    """Two files with the same tensors, and two other files that are called the same elsewhere."""
    with machine(tmp_path / "twins", {"one": 1, "two": 2, "three": 3}, "base") as found:
        copy = write_lora(tmp_path / "twins" / "files" / "copy.safetensors", 1, title="Renamed")
        found.catalog.add([copy])
        yield found


def test_equal_tensors_are_equal_weights(twins: Machine) -> None:
    first, second = record(twins, "one"), record(twins, "copy")
    assert first.tensor_sha256 == second.tensor_sha256
    assert names(twins, UsedAdapter("copy", (first.tensor_sha256,), ("1",))) == ["copy"]
    assert names(twins, UsedAdapter("", (second.file_sha256,), ("1",))) == ["copy"]
    assert names(twins, UsedAdapter("x", (first.tensor_sha256,), ("1",)))[0] in ("one", "copy")


def test_a_beginning_that_fits_several_is_ambiguous(
    mine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    ink, wash = record(mine, "ink"), record(mine, "wash")
    twisted = [replace(r, file_sha256="abcdef01" + r.file_sha256[8:]) for r in (ink, wash)]
    monkeypatch.setattr(mine.catalog, "adapters", lambda: twisted)
    with pytest.raises(Ambiguous, match="fits 2") as error:
        found(mine, UsedAdapter("x", ("abcdef01",), ("1",)))
    assert "ink, wash" in str(error.value.hint)
    # The name decides between those that the hash fits.
    assert names(mine, UsedAdapter("wash", ("abcdef01",), ("1",))) == ["wash"]


def test_a_file_of_the_adapters_name_does_not_take_its_place(
    mine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = record(mine, "ink").file_sha256
    (tmp_path / "ink").write_text("not an adapter")
    monkeypatch.chdir(tmp_path)
    result = found(mine, UsedAdapter("ink", (digest,), ("1",)))
    assert [entry.sha256 for entry in mine.resolved(result.stack)] == [digest]


@pytest.mark.parametrize("stated", ["base_hash", "base_tensors"])
def test_a_base_is_found_by_its_hashes(mine: Machine, stated: str) -> None:
    (base,) = mine.catalog.bases()
    digest = base.file_sha256 if stated == "base_hash" else base.tensor_sha256
    assert digest is not None
    result = found(mine, base_name="another name", **{stated: digest})
    assert (result.base, result.remarks) == ("rdbt", ())
    assert "by its name" in found(mine, base_name="RDBT", **{stated: "0" * 64}).remarks[0]
