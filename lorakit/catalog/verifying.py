"""Hash files again and compare them with what the catalog has on record. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Literal

from lorakit.catalog.doctor import Finding
from lorakit.catalog.paths import stat_of, time_of
from lorakit.catalog.pending import is_pending
from lorakit.catalog.records import Progress
from lorakit.db.store import Store
from lorakit.errors import BadFile
from lorakit.formats.hashing import FileHashes, hash_file
from lorakit.formats.header import read_header

# "header": other metadata before the same weights.
Outcome = Literal["same", "header", "weights", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True)
class Known:
    """A place of an adapter as it is on record; `seen_at` sorts as the times do when it was read."""

    adapter_id: int
    name: str
    path: str
    size: int
    mtime_ns: int
    seen_at: str
    hashes: FileHashes


@dataclass(frozen=True, slots=True)
class Verified:
    """A file that was hashed again; `unmoved` says that its size and time are as on record."""

    place: Known
    outcome: Outcome
    unmoved: bool
    reason: str = ""


def known_places(store: Store, adapters: Iterable[int] | None) -> list[Known]:
    """Every place of the adapters in rows `adapters`, None for all, sorted by path.

    Those of pending adapters have no hashes that one could compare with.
    """
    rows = store.read(
        "SELECT a.id, a.name, l.path, l.size, l.mtime_ns, l.seen_at, a.file_sha256, a.tensor_sha256 "
        "FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id ORDER BY l.path"
    )
    wanted = None if adapters is None else set(adapters)
    return [
        Known(number, name, path, size, mtime_ns, seen_at, FileHashes(file_sha256, tensor_sha256))
        for number, name, path, size, mtime_ns, seen_at, file_sha256, tensor_sha256 in rows
        if wanted is None or number in wanted
    ]


def is_unmoved(place: Known, stat: os.stat_result) -> bool:
    """Whether size and time are as on record."""
    return (stat.st_size, time_of(stat)) == (place.size, place.mtime_ns)


def lies_unmoved(store: Store, path: Path, content: str) -> bool:
    """Whether a file that is on record with this content has the size and time it had then."""
    rows = store.read(
        "SELECT l.size, l.mtime_ns FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id "
        "WHERE l.path = :path AND a.tensor_sha256 = :content",
        {"path": str(path), "content": content},
    )
    stat = stat_of(str(path))
    return stat is not None and any((stat.st_size, time_of(stat)) == tuple(r) for r in rows)


def verify_files(
    store: Store, adapters: Iterable[int] | None, on_progress: Progress | None
) -> list[Verified]:
    """What `Catalog.verify` does. A file with several paths is read once."""
    there = [
        (place, stat)
        for place in known_places(store, adapters)
        if not is_pending(place.hashes.file_sha256)
        and (stat := stat_of(place.path)) is not None
        and S_ISREG(stat.st_mode)
    ]
    read: dict[tuple[int, int], FileHashes | BadFile] = {}
    found: list[Verified] = []
    for number, (place, stat) in enumerate(there, start=1):
        if on_progress is not None:
            on_progress(Path(place.path), number, len(there))
        file = (stat.st_dev, stat.st_ino)
        if file not in read:
            read[file] = _hashes(place.path)
        found.append(_compare(place, read[file], is_unmoved(place, stat)))
    return found


def findings_of(verified: Iterable[Verified]) -> list[Finding]:
    """What to say of verified files; nothing of those that are as on record."""
    return [_finding(one) for one in verified if one.outcome != "same" or not one.unmoved]


def _hashes(path: str) -> FileHashes | BadFile:
    try:
        header = read_header(path)
        return hash_file(header.path, header.data_offset)
    except BadFile as error:
        return error


def _compare(place: Known, found: FileHashes | BadFile, unmoved: bool) -> Verified:
    if isinstance(found, BadFile):
        readable = os.access(place.path, os.R_OK)
        return Verified(place, "damaged" if readable else "unreadable", unmoved, found.message)
    if found == place.hashes:
        return Verified(place, "same", unmoved)
    same_weights = found.tensor_sha256 == place.hashes.tensor_sha256
    return Verified(place, "header" if same_weights else "weights", unmoved)


def _finding(one: Verified) -> Finding:
    name, path = one.place.name, one.place.path
    if one.outcome in ("damaged", "unreadable"):
        return Finding(one.outcome, f"{name}: {one.reason}", name, path)
    if one.outcome == "same":
        return Finding("touched", f"{name}: {path}", name, path)
    what = "its header was edited" if one.outcome == "header" else "it holds other weights"
    kind = "silent" if one.unmoved else "altered"
    return Finding(kind, f"{name}: {path}: {what}", name, path)
