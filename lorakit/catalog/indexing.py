"""Write what headers alone tell of new files into the database, many at once, and files that moved.

As in `lorakit.catalog.storing`, everything is decided under the write lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session, selectinload

from lorakit.catalog.naming import free_name, name_of_file
from lorakit.catalog.pending import instead_of_hash
from lorakit.catalog.records import AddedFile
from lorakit.catalog.reports import Columns
from lorakit.catalog.scanning import FoundFile
from lorakit.catalog.storing import Outcome, leave, put
from lorakit.db.models import Adapter, Location, Report


@dataclass(frozen=True, slots=True)
class Indexed:
    """A file with what its header tells."""

    file: FoundFile
    columns: Columns


def store_headers(session: Session, items: Sequence[Indexed]) -> None:
    """Make a pending adapter of each file whose path nobody knows."""
    paths = [item.file.path for item in items]
    there = set(session.scalars(select(Location.path).where(Location.path.in_(paths))))
    new = [item for item in items if item.file.path not in there]
    instead = [instead_of_hash(item.file) for item in new]
    # The same file was known at this path and is called pending elsewhere, by a later path.
    used = set(session.scalars(select(Adapter.file_sha256).where(Adapter.file_sha256.in_(instead))))
    rows = [(one, text) for one, text in zip(new, instead, strict=True) if text not in used]
    if not rows:
        return
    names = _names(session, [item.file.path for item, _ in rows])
    now = datetime.now(UTC)
    adapters: list[dict[str, Any]] = []
    reports: dict[str, dict[str, Any]] = {}
    for (item, text), name in zip(rows, names, strict=True):
        own, report = item.columns.without_hashes(text)
        adapters.append({**own, "name": name, "added_at": now})
        reports[text] = report
    session.execute(insert(Adapter), adapters)
    found = session.execute(
        select(Adapter.file_sha256, Adapter.id).where(Adapter.file_sha256.in_(reports))
    )
    numbers = {row.file_sha256: row.id for row in found}
    session.execute(
        insert(Report), [{**row, "adapter_id": numbers[text]} for text, row in reports.items()]
    )
    session.execute(
        insert(Location), [_location(item.file, numbers[text], now) for item, text in rows]
    )


def store_moved(
    session: Session, found: Sequence[tuple[FoundFile, int, Columns]]
) -> tuple[list[tuple[Outcome, AddedFile]], list[FoundFile]]:
    """Note that files are those of known adapters, by their rows; and those that turn out not to be."""
    stored: list[tuple[Outcome, AddedFile]] = []
    others: list[FoundFile] = []
    whole = (selectinload(Adapter.locations), selectinload(Adapter.report))
    numbers = {number for _, number, _ in found}
    wanted = select(Adapter).where(Adapter.id.in_(numbers)).options(*whole)
    adapters = {adapter.id: adapter for adapter in session.scalars(wanted)}
    paths = [file.path for file, _, _ in found]
    there = set(session.scalars(select(Location.path).where(Location.path.in_(paths))))
    with session.no_autoflush:
        for file, number, columns in found:
            adapter = adapters.get(number)
            if adapter is None or file.path in there or not _has_header(adapter, columns):
                others.append(file)
                continue
            previous = leave(adapter)
            put(session, None, adapter, file)
            added = AddedFile(file.path, adapter.name, adapter.id, previous)
            stored.append(("moved" if previous else "known", added))
    return stored, others


def _has_header(adapter: Adapter, columns: Columns) -> bool:
    """Whether a header tells what is on record of an adapter."""
    own = ("layout", "algo", "rank_min", "rank_max", "module_count", "components", "dtype")
    if any(getattr(adapter, name) != columns.adapter[name] for name in own):
        return False
    return bool(adapter.report.header == json.loads(json.dumps(columns.report["header"])))


def _names(session: Session, paths: Sequence[str]) -> list[str]:
    """A free name for the adapter in each file."""
    wanted = [name_of_file(path) for path in paths]
    taken = set(session.scalars(select(Adapter.name).where(Adapter.name.in_(set(wanted)))))
    twice = {name for name in wanted if name in taken or wanted.count(name) > 1}
    for name in twice:
        # `.` follows `-`: the range of all names that begin with `name-`, by the index.
        numbered = (Adapter.name >= f"{name}-") & (Adapter.name < f"{name}.")
        taken |= set(session.scalars(select(Adapter.name).where(numbered)))
    names = []
    for name in wanted:
        names.append(free_name(name, taken))
        taken.add(names[-1])
    return names


def _location(file: FoundFile, adapter: int, now: datetime) -> dict[str, Any]:
    one = file.fingerprint
    return {
        "adapter_id": adapter,
        "path": file.path,
        "size": one.size,
        "mtime_ns": one.mtime_ns,
        "inode": one.inode,
        "device": file.device,
        "state": "present",
        "seen_at": now,
    }
