"""How often LoRA Manager saw each LoRA used: `stats/lora_manager_stats.json` in its settings folder.

`{"loras": {SHA-256: {"total": 41, "history": {"2026-09-01": 3}}}}` (py/utils/usage_stats.py there).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorakit.formats import strict_json
from lorakit.formats.generation import hex_hashes, whole
from lorakit.formats.own_record import table

NAME = Path("stats") / "lora_manager_stats.json"
_MAX_BYTES = 50_000_000
_DATE_LENGTH = len("2026-09-01")


def stats_beside(cache: Path) -> Path:
    """Where the counts of a cache (`cache/model/LIBRARY.sqlite`) are kept; the file need not be there."""
    return cache.absolute().parent.parent.parent / NAME


def read_usage(path: Path) -> dict[str, dict[str, Any]]:
    """`{"count": 41, "last": "2026-09-01"}` by SHA-256; nothing where the file is not there, or is none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        document = strict_json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    loras = table(table(document).get("loras"))
    return {
        sha256: used
        for key, entry in loras.items()
        for sha256 in hex_hashes(key)
        if len(sha256) == 64 and (used := _used(table(entry)))
    }


def _used(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    count = whole(entry.get("total"))
    days = [
        day
        for day in table(entry.get("history"))
        if isinstance(day, str) and len(day) == _DATE_LENGTH
    ]
    return {"count": count, "last": max(days, default=None)} if count and count > 0 else None
