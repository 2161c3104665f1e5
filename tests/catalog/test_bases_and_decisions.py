import os
from pathlib import Path

import pytest

from lorakit.catalog import BaseRecord, Catalog
from lorakit.errors import Ambiguous, BadUsage, CatalogError, NotFound


def add(
    catalog: Catalog, path: Path, name: str = "rdbt", file_sha256: str | None = None
) -> BaseRecord:
    return catalog.add_base(
        path,
        name=name,
        model="rdbt",
        prefix="net.",
        blocks=28,
        dtype="BF16",
        components=None,
        file_sha256=file_sha256,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    path.write_bytes(b"gigabytes")
    return path


def test_a_base_is_kept_and_found(catalog: Catalog, file: Path) -> None:
    base = add(catalog, file)
    assert (base.path, base.blocks, base.file_sha256) == (file, 28, None)
    assert (base.missing, base.changed) == (False, False)
    assert catalog.base("rd") == catalog.base("RDBT") == catalog.bases()[0] == base


def test_a_hash_may_come_later_and_goes_with_the_bytes(catalog: Catalog, file: Path) -> None:
    add(catalog, file)
    assert add(catalog, file, file_sha256="ab").file_sha256 == "ab"
    assert add(catalog, file).file_sha256 == "ab"
    file.write_bytes(b"other gigabytes")
    os.utime(file, ns=(1, 1))
    assert catalog.base("rdbt").changed
    base = add(catalog, file)
    assert (base.file_sha256, base.changed) == (None, False)
    assert len(catalog.bases()) == 1


def test_a_name_belongs_to_one_file(catalog: Catalog, file: Path, tmp_path: Path) -> None:
    add(catalog, file)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"x")
    with pytest.raises(CatalogError, match=r"base\.safetensors"):
        add(catalog, other)
    assert catalog.base("rdbt").path == file
    with pytest.raises(BadUsage):
        add(catalog, other, name="two\nlines")


def test_missing_bases_and_names(catalog: Catalog, file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="rdbt") as caught:
        catalog.base("rdbt")
    assert "lorakit base add" in str(caught.value.hint)
    with pytest.raises(NotFound):
        add(catalog, tmp_path / "nowhere")
    add(catalog, file, "anima-a")
    add(catalog, file, "anima-b")
    with pytest.raises(Ambiguous, match="anima"):
        catalog.base("anima")
    with pytest.raises(NotFound) as caught:
        catalog.base("x")
    assert "anima-a, anima-b" in str(caught.value.hint)
    file.unlink()
    assert catalog.base("anima-a").missing


def test_decisions_are_written_down_in_order(catalog: Catalog) -> None:
    catalog.record_decision("export", "deny", {"ingredients": ["rdbt", Path("a")], "why": "é"})
    catalog.record_decision("render", "allow", {})
    first, second = catalog.decisions()
    assert (first.action, first.verdict) == ("export", "deny")
    assert first.subject == {"ingredients": ["rdbt", "a"], "why": "é"}
    assert second.action == "render"
    assert first.at <= second.at
    assert first.at.tzinfo is not None
