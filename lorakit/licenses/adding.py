"""Keeping, when adapters are added, what the files beside them say of their terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.claims import NewClaim
from lorakit.licenses.beside import evidence_beside, has_files_beside
from lorakit.licenses.keeping import new_rows

if TYPE_CHECKING:
    from lorakit.catalog import AddedFile, Catalog

_BATCH = 256


def keep_beside(catalog: Catalog, added: Sequence[AddedFile]) -> tuple[str, ...]:
    """Keep what lies beside the files just added, so that it outlives them; the problems met.

    Raises `CatalogError` when the catalog cannot be written.
    """
    files = [file for file in added if has_files_beside(file.path)]
    if not files:
        return ()
    records = {record.id: record for record in catalog.adapters()}
    rows: list[NewClaim] = []
    problems: list[str] = []
    for file in files:
        record = records[file.adapter_id]
        found = evidence_beside(file.path, "adapter", record.file_sha256, record.tensor_sha256)
        rows += new_rows(catalog, record.tensor_sha256, found.claims, found.ancestors)
        problems += (f"{Path(file.path).parent}: {problem}" for problem in found.problems)
        if len(rows) >= _BATCH:
            catalog.record_claims(rows)
            rows = []
    if rows:
        catalog.record_claims(rows)
    return tuple(dict.fromkeys(problems))
