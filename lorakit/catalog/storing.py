"""Write what was read from files into the database, one batch in one transaction.

Everything is decided from the database as it is under the write lock: another process may have added
the same files since they were looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from lorakit.catalog.journal import stepping
from lorakit.catalog.naming import free_name, name_of_file
from lorakit.catalog.paths import holds_file, respells, stat_of
from lorakit.catalog.pending import is_pending, require_known
from lorakit.catalog.records import AddedFile
from lorakit.catalog.reports import Columns
from lorakit.catalog.scanning import Fingerprint, FoundFile, fingerprint_of
from lorakit.db.models import Adapter, Location, Report
from lorakit.errors import CatalogError
from lorakit.formats.hashing import FileHashes

Outcome = Literal["added", "known", "moved", "changed"]
# Asked for by the batch: one at a time they take as long as all the rest of storing.
_WITH_ADAPTERS = (
    selectinload(Location.adapter).selectinload(Adapter.report),
    selectinload(Location.adapter).selectinload(Adapter.locations),
)


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file with what was found in it."""

    file: FoundFile
    columns: Columns
    hashes: FileHashes


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the database knows of the files of a batch; it grows as they are stored.

    `names` holds those names in use that the files could be given.
    """

    session: Session
    locations: dict[str, Location]
    adapters: dict[str, Adapter]
    names: set[str]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What became of a file; the adapter's id is known after the flush."""

    outcome: Outcome
    path: str
    adapter: Adapter
    previous: Path | None


def store_batch(
    session: Session, items: Sequence[ReadFile], name: str | None = None
) -> list[tuple[Outcome, AddedFile]]:
    """Store each file of `items` and tell what became of it.

    `name` names the adapter of a batch of one. Raises `CatalogError` when another adapter has it.
    """
    with session.no_autoflush:
        batch = _load(session, items)
        stored = [_store(batch, item) for item in items]
        session.flush()
        if name is not None:
            _name(session, stored[0], name)
    return [
        (one.outcome, AddedFile(one.path, one.adapter.name, one.adapter.id, one.previous))
        for one in stored
    ]


def mark(session: Session, paths: Iterable[str], state: Literal["present", "missing"]) -> None:
    """Note that the known locations `paths` are there, or are not."""
    for path in paths:
        session.execute(update(Location).where(Location.path == path).values(state=state))


def _load(session: Session, items: Sequence[ReadFile]) -> _Batch:
    paths = [item.file.path for item in items]
    hashes = [item.hashes.file_sha256 for item in items]
    names = {name_of_file(path) for path in paths}
    return _Batch(
        session,
        {
            row.path: row
            for row in session.scalars(
                select(Location).where(Location.path.in_(paths)).options(*_WITH_ADAPTERS)
            )
        },
        {
            row.file_sha256: row
            for row in session.scalars(select(Adapter).where(Adapter.file_sha256.in_(hashes)))
        },
        set(session.scalars(select(Adapter.name).where(Adapter.name.in_(names)))),
    )


def _store(batch: _Batch, item: ReadFile) -> _Stored:
    location = batch.locations.get(item.file.path)
    adapter = batch.adapters.get(item.hashes.file_sha256)
    outcome: Outcome = "known"
    previous = None
    if location is not None and is_pending(location.adapter.file_sha256):
        outcome, adapter, previous = _settle(batch, location, adapter, item)
    elif location is not None and location.adapter is not adapter:
        outcome = "changed"
        if adapter is None:
            adapter = _replace(batch, location, item)
        else:
            _return_name(batch, location, adapter)
    elif adapter is None:
        outcome = "added"
        adapter = _insert_for(batch, item)
    elif location is None and (previous := leave(adapter)):
        outcome = "moved"
    batch.adapters[item.hashes.file_sha256] = adapter
    batch.locations[item.file.path] = put(batch.session, location, adapter, item.file)
    return _Stored(outcome, item.file.path, adapter, previous)


def _settle(
    batch: _Batch, location: Location, known: Adapter | None, item: ReadFile
) -> tuple[Outcome, Adapter, Path | None]:
    """What the file of a pending adapter is, now that it was read whole.

    The adapter gets its content; where the catalog has that content already, its places go to the one
    that has it, and it was never more than a place itself.
    """
    pending = location.adapter
    same = [place for place in pending.locations if place is location or _is_same(place, item.file)]
    if len(same) < len(pending.locations):
        # Another file by now; those that are not may still be what was pending.
        return ("known", known, None) if known else ("added", _insert_for(batch, item), None)
    if known is None:
        _fill(pending, item)
        return "added", pending, None
    previous = leave(known)
    for place in same:
        place.adapter = known
    batch.session.flush()
    batch.session.delete(pending.report)
    batch.session.delete(pending)
    return "moved" if previous else "known", known, previous


def _is_same(place: Location, file: FoundFile) -> bool:
    return Fingerprint(place.size, place.mtime_ns, place.inode).fits(file.fingerprint)


def _insert_for(batch: _Batch, item: ReadFile) -> Adapter:
    return _insert(batch, item, name_of_file(item.file.path))


def _replace(batch: _Batch, location: Location, item: ReadFile) -> Adapter:
    """The adapter for new bytes under a known path.

    Where only the header of the one file was edited, it is the same adapter. Otherwise the name goes to
    the new one, since people mean the file by it, and the old one stays on record under another: that of
    its file where it has one elsewhere, else the same with a number. A name that the old one's other
    file goes by too, or that a person gave it, stays with that file.
    """
    old, wanted = location.adapter, name_of_file(item.file.path)
    others = [place for place in old.locations if place is not location]
    elsewhere = [name_of_file(place.path) for place in others if _is_as_seen(place)]
    if not elsewhere and old.tensor_sha256 == item.hashes.tensor_sha256:
        return _edit(batch, old, item, others)
    if elsewhere and (old.name != wanted or wanted in elsewhere):
        return _insert(batch, item, wanted)
    name = old.name
    batch.names.add(name)
    old.name = _free_name(batch, _known(batch, elsewhere[0]) if elsewhere else name)
    # Names are unique, so the old one must have let go before the new one is inserted.
    batch.session.flush()
    batch.names.discard(name)
    return _insert(batch, item, name)


def _return_name(batch: _Batch, location: Location, back: Adapter) -> None:
    """Give `back`, which returns to a place of its own, the name that went to what lay there meanwhile."""
    other = location.adapter
    name, numbered = other.name, back.name
    stem, _, number = numbered.rpartition("-")
    others = [p for one in (other, back) for p in one.locations if p is not location]
    if (stem, number.isdecimal()) != (name, True) or any(holds_file(p.path) for p in others):
        return
    if numbered in [name_of_file(place.path) for place in back.locations]:
        return
    # Names are unique, so each must have let go before the other takes it.
    for adapter, called in ((other, _free_name(batch, name)), (back, name), (other, numbered)):
        adapter.name = called
        batch.session.flush()


def _edit(batch: _Batch, old: Adapter, item: ReadFile, gone: Sequence[Location]) -> Adapter:
    """`old` with its new header; in the places where its file is `gone`, it lay with the earlier one."""
    batch.adapters.pop(old.file_sha256, None)
    _fill(old, item)
    for place in gone:
        # Read again if it comes back, whatever its size and time are then.
        place.mtime_ns = 0
    # Inserts go before updates, and a later file may hold the bytes from before the edit.
    batch.session.flush()
    return old


def _is_as_seen(place: Location) -> bool:
    stat = stat_of(place.path)
    was = Fingerprint(place.size, place.mtime_ns, place.inode)
    return stat is not None and fingerprint_of(stat).fits(was)


def _known(batch: _Batch, name: str) -> str:
    """`name`, of which the batch then knows whether it is in use."""
    if batch.session.scalar(select(Adapter.id).where(Adapter.name == name)) is not None:
        batch.names.add(name)
    return name


def _insert(batch: _Batch, item: ReadFile, name: str) -> Adapter:
    own, report = item.columns.with_hashes(item.hashes)
    adapter = Adapter(name=_free_name(batch, name), report=Report(**report), **own)
    batch.session.add(adapter)
    return adapter


def _fill(adapter: Adapter, item: ReadFile) -> None:
    own, report = item.columns.with_hashes(item.hashes)
    for column, value in own.items():
        setattr(adapter, column, value)
    for column, value in report.items():
        setattr(adapter.report, column, value)


def leave(adapter: Adapter) -> Path | None:
    """Mark the places that a moved adapter's file has left; the last of them, None for a copy."""
    gone = [place for place in adapter.locations if not holds_file(place.path)]
    for place in gone:
        place.state = "missing"
    if not gone or len(gone) < len(adapter.locations):
        return None
    return Path(max(gone, key=lambda place: place.seen_at).path)


def put(session: Session, location: Location | None, adapter: Adapter, file: FoundFile) -> Location:
    """Note that a file lies where it was found: at a known `location`, or at a new one.

    Where case makes no difference, the earlier spelling of its path still leads to a file that was renamed;
    it is the same place, and not a copy.
    """
    if location is None:
        location = next((one for one in adapter.locations if respells(file.path, one.path)), None)
        if location is not None:
            location.path = file.path
    if location is None:
        location = Location(path=file.path)
        session.add(location)
    location.adapter = adapter
    location.size = file.fingerprint.size
    location.mtime_ns = file.fingerprint.mtime_ns
    location.inode = file.fingerprint.inode
    location.device = file.device
    location.state = "present"
    location.seen_at = datetime.now(UTC)
    return location


def _name(session: Session, stored: _Stored, name: str) -> None:
    """Name what was stored; where it had a name before, that is a step of the journal."""
    if stored.outcome == "added":
        rename_adapter(session, stored.adapter, name)
        return
    with stepping(session, f"add {stored.path} as {name}"):
        rename_adapter(session, stored.adapter, name)


def rename_adapter(session: Session, adapter: Adapter, name: str) -> None:
    """Give an adapter another name. Raises `CatalogError` when another has it, or it is pending."""
    require_known([adapter.tensor_sha256])
    holder = session.scalar(select(Adapter.id).where(Adapter.name == name))
    if holder not in (None, adapter.id):
        raise CatalogError(
            f"Another adapter is called {name!r} already.", hint="Choose another name."
        )
    adapter.name = name
    session.flush()


def _free_name(batch: _Batch, name: str) -> str:
    if name in batch.names:
        # `.` follows `-`, so this is the range of all names that begin with `name-`, by the index.
        numbered = (Adapter.name >= f"{name}-") & (Adapter.name < f"{name}.")
        taken = set(batch.session.scalars(select(Adapter.name).where(numbered)))
        name = free_name(name, taken | batch.names)
    batch.names.add(name)
    return name
