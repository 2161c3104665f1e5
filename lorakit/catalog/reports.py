"""Inspection reports as the database keeps them, and back.

A report of hundreds of modules repeats itself: packed as one compressed table it takes a few
kilobytes, where a row per module would make millions.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lorakit.catalog.query.touching import touched
from lorakit.formats.family import family_told, stream_width

if TYPE_CHECKING:
    from lorakit.formats.hashing import FileHashes
    from lorakit.formats.inspection import AdapterReport


@dataclass(frozen=True, slots=True)
class Columns:
    """A report as the rows of `adapter` and `report` hold it, but for hashes."""

    adapter: Mapping[str, Any]
    report: Mapping[str, Any]

    def with_hashes(self, hashes: FileHashes) -> tuple[dict[str, Any], dict[str, Any]]:
        """The columns of both rows, for a file that was read whole."""
        both = {"file_sha256": hashes.file_sha256, "tensor_sha256": hashes.tensor_sha256}
        document = {**self.report["document"], "hashes": both}
        return {**self.adapter, **both}, {**self.report, "document": document}

    def without_hashes(self, instead: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The columns of both rows, with a text that is no hash in place of the hashes."""
        both = {"file_sha256": instead, "tensor_sha256": instead}
        return {**self.adapter, **both}, dict(self.report)


def columns_of(report: AdapterReport) -> Columns:
    """The columns of a report with modules."""
    document = report.to_dict()
    modules, header = _pack(document.pop("modules")), document.pop("metadata")
    # Files of the same tensors share a document, and the header is kept beside it.
    del document["family_told"]
    document["notes"] = list(report.notes)
    document["hashes"] = None
    ranks = list(report.ranks)
    blocks, kinds = touched(modules)
    adapter = {
        "layout": report.layouts[0],
        "algo": report.algos[0],
        "rank_min": ranks[0] if ranks else None,
        "rank_max": ranks[-1] if ranks else None,
        "module_count": len(report.modules),
        "components": list(report.components),
        "dtype": next(iter(report.dtypes)),
        "blocks": blocks,
        "kinds": " ".join(kinds),
        **of_the_file(report),
    }
    return Columns(adapter, {"document": document, "header": header, "modules": modules})


def of_the_file(report: AdapterReport) -> dict[str, Any]:
    """The columns that the tensors' names and shapes do not tell."""
    info = report.info
    return {
        "file_size": report.file_size,
        "model_blocks": report.model_blocks,
        "base_model": info.base_model,
        "title": info.title,
        "trigger_words": list(info.trigger_words),
        "license": info.license,
    }


def whole_report(document: str, header: str, modules: bytes) -> dict[str, Any]:
    """What `AdapterReport.to_dict` gave, from the stored columns."""
    found, rows, metadata = json.loads(document), _unpack(modules), json.loads(header)
    width = stream_width({row["name"]: row["shape"] for row in rows})
    # Reports of earlier versions do not have the field.
    alike = found.get("look_alikes", ())
    told = family_told(found["components"], found["blocks"], width, metadata, alike)
    notes = [told.note, *found["notes"]] if told.note else found["notes"]
    family = {"notes": notes, "family_told": asdict(told)}
    return {**found, **family, "modules": rows, "metadata": metadata}


def _pack(modules: list[dict[str, Any]]) -> bytes:
    keys = list(modules[0])
    table = {"keys": keys, "rows": [[module[key] for key in keys] for module in modules]}
    return zlib.compress(json.dumps(table, separators=(",", ":")).encode())


def _unpack(packed: bytes) -> list[dict[str, Any]]:
    table = json.loads(zlib.decompress(packed))
    return [dict(zip(table["keys"], row, strict=True)) for row in table["rows"]]
