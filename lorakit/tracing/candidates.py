"""What a suspect is compared with: the catalog's bases, learnt fingerprints and adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lorakit.errors import BadFile, NotFound, NotFusable
from lorakit.tracing.kept import ensure_adapter_sketch, ensure_base_sketch, kept_fingerprint
from lorakit.tracing.known import Known, held_by

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord
    from lorakit.sketches.sketch import Sketch

Progress = Callable[[int, int, str], None]
# Is told of a model that cannot be compared with, and why.
Warn = Callable[[str], None]


def _silent(message: str) -> None:
    pass


def known_weights(
    catalog: Catalog,
    on_progress: Progress = lambda done, total, what: None,
    warn: Warn = _silent,
) -> list[Known]:
    """The registered bases, one for each content, and the learnt fingerprints."""
    found: dict[str, Known] = {}
    bases = catalog.bases()
    for number, record in enumerate(bases):
        on_progress(number, len(bases), record.name)
        try:
            sketch = ensure_base_sketch(catalog, record)
        except (BadFile, NotFound) as error:
            warn(f"The base {record.name} is not compared: {error.message}")
            continue
        content = catalog.base(record.name).tensor_sha256 or ""
        path = None if record.missing or record.changed else record.path
        found.setdefault(
            content,
            Known(content, record.name, "weights", sketch, record.model, record.parent, path),
        )
    for kept in catalog.sketches("fingerprint"):
        learnt = kept_fingerprint(catalog, kept)
        found.setdefault(
            kept.content,
            Known(
                kept.content,
                kept.name,
                held_by(learnt.kind),
                learnt.sketch,
                kept.model,
                kept.parent,
            ),
        )
    return list(found.values())


def known_adapters(
    catalog: Catalog,
    records: Iterable[AdapterRecord],
    on_progress: Progress = lambda done, total, what: None,
    warn: Warn = _silent,
    model_of: Callable[[AdapterRecord], str | None] = lambda record: None,
) -> list[Known]:
    """The adapters `records` by what they change; one whose file is needed and gone is passed over.

    `model_of` tells which model of the table an adapter is, where it is one.
    """
    found = []
    wanted = list(records)
    for number, record in enumerate(wanted):
        on_progress(number, len(wanted), record.name)
        path = None if record.missing else record.path
        try:
            sketch = _sketch_of(catalog, record)
        except (BadFile, NotFound, NotFusable) as error:
            warn(f"The adapter {record.name} is not compared: {error.message}")
            continue
        if sketch.values:
            found.append(
                Known(
                    record.tensor_sha256,
                    record.name,
                    "change",
                    sketch,
                    model_of(record),
                    None,
                    path,
                )
            )
    return found


def _sketch_of(catalog: Catalog, record: AdapterRecord) -> Sketch:
    kept = catalog.sketch(record.tensor_sha256, "adapter")
    if kept is not None:
        return kept_fingerprint(catalog, kept).sketch
    path = record.existing_path()
    return ensure_adapter_sketch(catalog, record.tensor_sha256, path, record.name)
