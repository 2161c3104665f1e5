"""The catalog's SELECTs, and rows turned into records.

Plain SQL text, so that `lorakit.db.store` can run it without SQLAlchemy. Whether a file is there is
asked of the disk each time and never written: reading changes nothing, and a drive that is plugged
in again is simply there again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lorakit.catalog.base_files import Stamp, stamp_of
from lorakit.catalog.naming import name_of_file, normal
from lorakit.catalog.paths import file_stat, time_of
from lorakit.catalog.records import AdapterRecord, BaseRecord
from lorakit.db.store import Store
from lorakit.db.times import from_text

_ADAPTER = [
    "id",
    "name",
    "file_sha256",
    "tensor_sha256",
    "file_size",
    "layout",
    "algo",
    "rank_min",
    "rank_max",
    "module_count",
    "model_blocks",
    "components",
    "base_model",
    "dtype",
    "title",
    "trigger_words",
    "license",
    "added_at",
]
_AT_ONCE = 500
_BASE = [
    "id",
    "name",
    "model",
    "path",
    "file_size",
    "mtime_ns",
    "file_sha256",
    "prefix",
    "blocks",
    "dtype",
    "components",
    "added_at",
    "tensor_sha256",
    "parent",
]


def _select_adapters(where: str = "") -> str:
    """One row per adapter and location, the location seen last first."""
    return (
        f"SELECT {', '.join(f'a.{name}' for name in _ADAPTER)}, l.size, l.mtime_ns, l.path "
        "FROM adapter AS a LEFT JOIN location AS l ON l.adapter_id = a.id "
        f"{where} ORDER BY a.id, l.seen_at DESC, l.path"
    )


def all_adapters(store: Store) -> list[AdapterRecord]:
    """Every adapter, sorted by name without regard to case."""
    records = _adapters(store.read(_select_adapters()))
    return sorted(records, key=lambda record: (record.name.casefold(), record.name))


def adapter_by_id(store: Store, adapter_id: int) -> AdapterRecord:
    """The adapter in row `adapter_id`, which exists."""
    rows = store.read(_select_adapters("WHERE a.id = :id"), {"id": adapter_id})
    return _adapters(rows)[0]


def adapters_by_ids(store: Store, ids: Sequence[int]) -> list[AdapterRecord]:
    """The adapters in rows `ids`, in that order; those that have gone meanwhile are left out."""
    found: dict[int, AdapterRecord] = {}
    for start in range(0, len(ids), _AT_ONCE):
        numbers = ", ".join(str(int(number)) for number in ids[start : start + _AT_ONCE])
        records = _adapters(store.read(_select_adapters(f"WHERE a.id IN ({numbers})")))
        found.update((record.id, record) for record in records)
    return [found[number] for number in ids if number in found]


def adapters_claiming(store: Store, prefix: str) -> list[AdapterRecord]:
    """The adapters whose stored report holds a text that begins with `prefix`, which is hex.

    Of what a report holds, only hashes look so; those of the file itself are found sooner by others.
    """
    where = "WHERE a.id IN (SELECT adapter_id FROM report WHERE document LIKE :pattern)"
    return _adapters(store.read(_select_adapters(where), {"pattern": f'%"{prefix}%'}))


def headers_of(store: Store, content: str) -> list[tuple[str, dict[str, str]]]:
    """Name and header of every file that was ever read with this content, the latest first."""
    rows = store.read(
        "SELECT a.name, r.header FROM adapter AS a JOIN report AS r ON r.adapter_id = a.id "
        "WHERE a.tensor_sha256 = :content ORDER BY a.id DESC",
        {"content": content},
    )
    return [(name, json.loads(header)) for name, header in rows]


def all_bases(store: Store) -> list[BaseRecord]:
    """Every base, sorted by name."""
    return [_base(row) for row in store.read(f"SELECT {', '.join(_BASE)} FROM base ORDER BY name")]


def _adapters(rows: Iterable[tuple[Any, ...]]) -> list[AdapterRecord]:
    """One record per adapter, from rows of adapter and location that are sorted by adapter."""
    groups = groupby(rows, key=lambda row: row[0])
    return [_adapter(list(group)) for _, group in groups]


def called_in_file(store: Store, stem: str) -> list[str]:
    """The names of the adapters that lie, or lay, in a file called `stem`, whatever its case.

    A file that was renamed keeps the name it has here, and people type what they see in the folder.
    """
    wanted = normal(stem).casefold()
    rows = store.read(
        "SELECT a.name, l.path FROM location l JOIN adapter a ON a.id = l.adapter_id ORDER BY a.name"
    )
    found = [name for name, path in rows if name_of_file(path).casefold() == wanted]
    return list(dict.fromkeys(found))


def _adapter(rows: list[tuple[Any, ...]]) -> AdapterRecord:
    fields = dict(zip(_ADAPTER, rows[0], strict=False))
    fields["components"] = tuple(json.loads(fields["components"]))
    fields["trigger_words"] = tuple(json.loads(fields["trigger_words"]))
    fields["added_at"] = from_text(fields["added_at"])
    paths = tuple(Path(row[-1]) for row in rows if row[-1] is not None)
    if len(paths) > 1:
        rows = sorted(rows, key=lambda row: _as_expected(fields["name"], row[-1]))
    there, changed = _place(rows)
    path = there or next(iter(paths), None)
    return AdapterRecord(
        **fields, path=path, missing=there is None, changed=changed, locations=paths
    )


def _as_expected(name: str, path: str) -> tuple[bool, int]:
    """By what the locations of one content are sorted: those called as it is first, copies in sub-folders last."""
    return name_of_file(path).casefold() != name.casefold(), len(Path(path).parts)


def _place(rows: Sequence[tuple[Any, ...]]) -> tuple[Path | None, bool]:
    """A location that exists now, as it was when it was read if there is one, and whether it has changed."""
    changed = None
    for *_, size, mtime_ns, path in rows:
        if path is None or (stat := file_stat(path)) is None:
            continue
        if (stat.st_size, time_of(stat)) == (size, mtime_ns):
            return Path(path), False
        changed = changed or Path(path)
    return changed, changed is not None


def _base(row: tuple[Any, ...]) -> BaseRecord:
    fields = dict(zip(_BASE, row, strict=True))
    fields["path"] = Path(fields["path"])
    fields["added_at"] = from_text(fields["added_at"])
    stamp = stamp_of(fields["path"])
    changed = stamp is not None and stamp != Stamp(fields["file_size"], fields["mtime_ns"])
    return BaseRecord(**fields, missing=stamp is None, changed=changed)
