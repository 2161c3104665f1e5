"""Inspection reports as the database keeps them, and back.

A report of hundreds of modules repeats itself: packed as one compressed table it takes a few
kilobytes, where a row per module would make millions.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorakit.formats.inspection import AdapterReport


def adapter_columns(report: AdapterReport) -> dict[str, Any]:
    """The searchable columns of a report with modules and hashes."""
    assert report.hashes is not None
    info, ranks = report.info, list(report.ranks)
    return {
        "file_sha256": report.hashes.file_sha256,
        "tensor_sha256": report.hashes.tensor_sha256,
        "file_size": report.file_size,
        "layout": report.layouts[0],
        "algo": report.algos[0],
        "rank_min": ranks[0] if ranks else None,
        "rank_max": ranks[-1] if ranks else None,
        "module_count": len(report.modules),
        "model_blocks": report.model_blocks,
        "components": list(report.components),
        "base_model": info.base_model,
        "dtype": next(iter(report.dtypes)),
        "title": info.title,
        "trigger_words": list(info.trigger_words),
        "license": info.license,
    }


def report_columns(report: AdapterReport) -> dict[str, Any]:
    """The report itself, split into document, header metadata and packed modules."""
    document = report.to_dict()
    modules, header = document.pop("modules"), document.pop("metadata")
    return {"document": document, "header": header, "modules": _pack(modules)}


def whole_report(document: str, header: str, modules: bytes) -> dict[str, Any]:
    """What `AdapterReport.to_dict` gave, from the stored columns."""
    return {**json.loads(document), "modules": _unpack(modules), "metadata": json.loads(header)}


def _pack(modules: list[dict[str, Any]]) -> bytes:
    keys = list(modules[0])
    table = {"keys": keys, "rows": [[module[key] for key in keys] for module in modules]}
    return zlib.compress(json.dumps(table, separators=(",", ":")).encode())


def _unpack(packed: bytes) -> list[dict[str, Any]]:
    table = json.loads(zlib.decompress(packed))
    return [dict(zip(table["keys"], row, strict=True)) for row in table["rows"]]
