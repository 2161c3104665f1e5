"""The sketches that recognition works on: kept ones where there are, else taken now.

A sketch is kept only under the hash of the very bytes it was taken of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase
from lorakit.errors import CatalogError, LorakitError
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.gate.subjects import Subject
from lorakit.sketches.fingerprint import Fingerprint, from_bytes, to_bytes
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.sketch import Sketch
from lorakit.stack import ResolvedEntry

if TYPE_CHECKING:
    from lorakit.catalog import BaseRecord, Catalog
    from lorakit.catalog.records import SketchKind, SketchRecord


def sketch_of(catalog: Catalog, subject: Subject) -> Sketch:
    """The sketch of a base's weights, or of an adapter's change at strength 1.

    Raises `BadFile` or `NotFusable` for a file that cannot be read.
    """
    if isinstance(subject, ChosenBase):
        return _kept(catalog, subject.content, "base") or sketch_checkpoint(subject.path)
    return _kept(catalog, subject.tensor_sha256, "adapter") or _of_adapter(catalog, subject)


def registered_sketches(catalog: Catalog) -> Iterator[tuple[BaseRecord, Sketch]]:
    """Every registered base with its sketch.

    Left out are those whose sketch was not kept and whose file is missing, changed or unreadable.
    """
    for record in catalog.bases():
        with suppress(LorakitError):
            sketch = _kept(catalog, record.tensor_sha256, "base")
            yield record, sketch or sketch_checkpoint(record.unchanged_path())


def learnt_fingerprints(catalog: Catalog) -> Iterator[tuple[SketchRecord, Fingerprint]]:
    """The fingerprints of models whose weights are not here; unreadable ones are left out."""
    for record in catalog.sketches("fingerprint"):
        with suppress(LorakitError):
            yield record, from_bytes(catalog.sketch_data(record), f"the fingerprint {record.name}")


def _kept(catalog: Catalog, content: str | None, kind: SketchKind) -> Sketch | None:
    record = catalog.sketch(content, kind) if content is not None else None
    if record is None:
        return None
    try:
        return from_bytes(catalog.sketch_data(record), f"the kept sketch of {record.name}").sketch
    except LorakitError:
        return None


def _of_adapter(catalog: Catalog, entry: ResolvedEntry) -> Sketch:
    """The sketch of an adapter's file as it is now; kept, since adapters are many and torch is slow."""
    from lorakit.adapters.loading import load_adapter
    from lorakit.sketches.adapters import sketch_adapter

    content = hash_file(entry.path, read_header(entry.path).data_offset).tensor_sha256
    sketch = sketch_adapter(load_adapter(entry.path))
    if sketch.values:
        data = to_bytes(Fingerprint("adapter", entry.name, content, sketch))
        # A catalog that cannot be written now gets it another time.
        with suppress(CatalogError):
            catalog.keep_sketch(
                content, "adapter", name=entry.name, model=None, parent=None, data=data
            )
    return sketch
