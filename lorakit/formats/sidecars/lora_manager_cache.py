"""LoRA Manager's cache, `cache/model/LIBRARY.sqlite` (py/services/persistent_model_cache.py there).

A copy of it is read. Columns were added over time, so that only those that are there are asked
for. The program's truth are the `.metadata.json` files: what those say goes before this. How often each
was used stands in a file of its own (lora_manager_usage.py).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

from lorakit.errors import BadFile
from lorakit.formats.generation import hex_hashes
from lorakit.formats.sidecars.lora_manager import lora_manager_facts
from lorakit.formats.sidecars.lora_manager_usage import read_usage, stats_beside
from lorakit.formats.sidecars.said import SidecarFacts

_COLUMNS = (
    "file_path",
    "model_name",
    "sha256",
    "base_model",
    "favorite",
    "notes",
    "usage_tips",
    "civitai_id",
    "civitai_model_id",
    "civitai_creator_username",
    "trained_words",
)


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A row of the cache: where the file lay, its SHA-256 (lower-case hex or ""), and what is said."""

    file_path: str
    sha256: str
    said: SidecarFacts


def read_cache(path: Path) -> list[CachedModel]:
    """The LoRAs in a cache. Raises `BadFile` for what is none."""
    usage = read_usage(stats_beside(path))
    try:
        with _copied(path) as connection:
            return [_with_usage(model, usage) for model in _models(connection, str(path))]
    except (sqlite3.Error, OSError) as error:
        raise BadFile(
            f"{path} cannot be read as LoRA Manager's cache: {_reason(error)}.",
            hint="It is a file such as cache/model/default.sqlite in LoRA Manager's settings folder.",
        ) from error


def _with_usage(model: CachedModel, usage: Mapping[str, Any]) -> CachedModel:
    used = usage.get(model.sha256)
    if used is None:
        return model
    return replace(model, said=replace(model.said, fields={**model.said.fields, "used": used}))


def _reason(error: sqlite3.Error | OSError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


@contextmanager
def _copied(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy: SQLite writes beside a database with a log even when it only reads."""
    with TemporaryDirectory(prefix="lorakit-") as folder:
        copy = Path(folder) / "cache.sqlite"
        shutil.copyfile(path, copy)
        log = path.with_name(f"{path.name}-wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        with closing(sqlite3.connect(copy)) as connection:
            yield connection


def _models(connection: sqlite3.Connection, place: str) -> Iterator[CachedModel]:
    there = {row[1] for row in connection.execute("PRAGMA table_info(models)")}
    if not {"file_path", "sha256"} <= there:
        raise sqlite3.DatabaseError("it has no table of models")
    columns = [name for name in _COLUMNS if name in there]
    tags = _tags(connection)
    # A column that is not typed may hold anything, bytes included.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    chosen = "WHERE model_type = 'lora'" if "model_type" in there else ""
    for row in connection.execute(f"SELECT {', '.join(columns)} FROM models {chosen}"):
        found = dict(zip(columns, row, strict=True))
        file_path = found["file_path"]
        if isinstance(file_path, str) and file_path:
            document = {**_document(found), "tags": tags.get(file_path)}
            said = lora_manager_facts(document, place, PureWindowsPath(file_path).stem)
            sha256 = next((h for h in hex_hashes(found["sha256"]) if len(h) == 64), "")
            yield CachedModel(file_path, sha256, said)


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in the form of a `.metadata.json`."""
    words = row.get("trained_words")
    try:
        trained = json.loads(words) if isinstance(words, str) else None
    except (ValueError, RecursionError):
        trained = None
    return {
        **{
            name: row.get(name)
            for name in ("model_name", "sha256", "base_model", "favorite", "notes", "usage_tips")
        },
        "civitai": {
            "id": row.get("civitai_id"),
            "modelId": row.get("civitai_model_id"),
            "creator": {"username": row.get("civitai_creator_username")},
            "trainedWords": trained,
        },
    }


def _tags(connection: sqlite3.Connection) -> dict[str, list[str]]:
    try:
        rows = connection.execute("SELECT file_path, tag FROM model_tags").fetchall()
    except sqlite3.Error:
        return {}
    found: dict[str, list[str]] = {}
    for file_path, tag in rows:
        found.setdefault(file_path, []).append(tag)
    return found
