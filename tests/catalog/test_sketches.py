from pathlib import Path

import pytest

from lorakit.catalog import Catalog, SketchRecord
from lorakit.errors import NotFound

ONE, OTHER = "1" * 64, "2" * 64


def keep(catalog: Catalog, content: str, name: str, data: bytes = b"x") -> None:
    catalog.keep_sketch(content, "base", name=name, model="rdbt", parent=OTHER, data=data)


def found(catalog: Catalog, content: str) -> SketchRecord:
    record = catalog.sketch(content, "base")
    assert record is not None
    return record


def test_a_sketch_is_kept_by_content_and_kind(catalog: Catalog) -> None:
    assert (catalog.sketches(), catalog.sketch(ONE, "base")) == ([], None)
    keep(catalog, ONE, "rdbt", b"first")
    keep(catalog, ONE, "renamed", b"second")
    catalog.keep_sketch(ONE, "fingerprint", name="far", model=None, parent=None, data=b"third")
    record = found(catalog, ONE)
    assert (record.name, record.model, record.parent) == ("renamed", "rdbt", OTHER)
    assert catalog.sketch_data(record) == b"second"
    assert [r.name for r in catalog.sketches()] == ["far", "renamed"]
    assert [r.name for r in catalog.sketches("fingerprint")] == ["far"]
    assert catalog.sketch(OTHER, "base") is None


def test_a_sketch_that_is_forgotten_is_gone(catalog: Catalog) -> None:
    keep(catalog, ONE, "a")
    keep(catalog, OTHER, "b")
    record = found(catalog, ONE)
    catalog.drop_sketch(record)
    catalog.drop_sketch(record)
    assert [r.name for r in catalog.sketches()] == ["b"]
    with pytest.raises(NotFound, match="'a'"):
        catalog.sketch_data(record)


def test_a_bases_content_and_parent_are_kept(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(b"gigabytes")

    def add(tensor_sha256: str | None, parent: str | None) -> tuple[str | None, str | None]:
        record = catalog.add_base(
            path,
            name="mine",
            model="rdbt",
            prefix="",
            blocks=28,
            dtype="BF16",
            components=None,
            tensor_sha256=tensor_sha256,
            parent=parent,
        )
        return record.tensor_sha256, record.parent

    assert add(None, None) == (None, None)
    assert add(ONE, OTHER) == (ONE, OTHER)
    # A content that is known stays as long as the file does; what it was made from is said each time.
    assert add(None, None) == (ONE, None)
    path.write_bytes(b"other gigabytes")
    assert add(None, OTHER) == (None, OTHER)
