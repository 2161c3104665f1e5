"""Files at new paths: those that are known files elsewhere, and new ones by what their headers tell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.headers import Headers
from lorakit.catalog.paths import stat_of
from lorakit.catalog.records import AddedFile, Progress, RejectedFile
from lorakit.catalog.reports import Columns
from lorakit.catalog.scanning import Fingerprint, FoundFile, fingerprint_of
from lorakit.catalog.tally import Tally
from lorakit.db.store import Store
from lorakit.errors import BadFile

if TYPE_CHECKING:
    from lorakit.catalog.indexing import Indexed

# So many files, or what is read in so long, are one transaction.
INDEX_FILES = 200
_INDEX_SECONDS = 2.0


def without_moved(
    store: Store,
    files: Sequence[FoundFile],
    headers: Headers,
    tally: Tally,
    on_progress: Progress | None,
) -> list[FoundFile]:
    """`files` but for those that are known files under other names, of which headers are read only."""
    if not files:
        return []
    known: dict[Fingerprint, list[tuple[str, int]]] = {}
    for path, number, *rest in store.read(
        "SELECT path, adapter_id, size, mtime_ns, inode FROM location"
    ):
        known.setdefault(Fingerprint(*rest), []).append((path, number))
    found = [(file, _same_file(file, known.get(file.fingerprint, ()))) for file in files]
    moved = [(file, number) for file, number in found if number is not None]
    others = [file for file, number in found if number is None]
    for start in range(0, len(moved), INDEX_FILES):
        if on_progress is not None:
            on_progress(Path(moved[start][0].path), start + 1, len(moved))
        others += _store_moved(store, moved[start : start + INDEX_FILES], headers, tally)
    return others


def _store_moved(
    store: Store, moved: Sequence[tuple[FoundFile, int]], headers: Headers, tally: Tally
) -> list[FoundFile]:
    """Note where known files are now; those that turn out to be others."""
    from lorakit.catalog.indexing import store_moved

    read = [(file, number, _header(file, headers)) for file, number in moved]
    sure = [(file, number, columns) for file, number, columns in read if columns is not None]
    with store.writing() as session:
        stored, others = store_moved(session, sure)
    for outcome, file in stored:
        tally.note(outcome, file)
    return [*others, *(file for file, _, columns in read if columns is None)]


def _same_file(file: FoundFile, alike: Sequence[tuple[str, int]]) -> int | None:
    """The adapter whose file this is, by size, time and inode; None where that is not certain.

    `alike` are paths and adapters of which these are on record. Those places must be empty by now or lead
    to this very file, and be of one adapter: a file system that numbers its files anew each time has other
    files of one number.
    """
    if not file.fingerprint.inode or len({number for _, number in alike}) != 1:
        return None
    for path, _ in alike:
        stat = stat_of(path)
        if stat is None or not fingerprint_of(stat).fits(file.fingerprint):
            continue
        if stat.st_dev != file.device:
            return None
    return alike[0][1]


def _header(file: FoundFile, headers: Headers) -> Columns | None:
    try:
        found = headers.read(headers.open(file), scalars=False)
    except BadFile:
        return None
    return None if isinstance(found, RejectedFile) else found


def index(
    store: Store,
    files: Sequence[FoundFile],
    headers: Headers,
    tally: Tally,
    on_progress: Progress | None,
) -> list[FoundFile]:
    """Make pending adapters of what the headers of `files` tell; the files that are adapters."""
    from lorakit.catalog.indexing import Indexed

    indexed: list[FoundFile] = []
    batch: list[Indexed] = []
    due = time.monotonic() + _INDEX_SECONDS
    for number, file in enumerate(files, start=1):
        if on_progress is not None:
            on_progress(Path(file.path), number, len(files))
        if tally.is_lost(file):
            continue
        try:
            found = headers.read(headers.open(file), scalars=False)
        except BadFile as error:
            tally.fail(file, error)
            continue
        if isinstance(found, RejectedFile):
            tally.skipped.append(found)
            continue
        indexed.append(file)
        batch.append(Indexed(file, found))
        if len(batch) >= INDEX_FILES or time.monotonic() > due:
            _store_headers(store, batch)
            batch, due = [], time.monotonic() + _INDEX_SECONDS
    if batch:
        _store_headers(store, batch)
    return indexed


def _store_headers(store: Store, batch: Sequence[Indexed]) -> None:
    from lorakit.catalog.indexing import store_headers

    with store.writing() as session:
        store_headers(session, batch)


def added(store: Store, files: Sequence[FoundFile]) -> list[AddedFile]:
    """What was made of `files`, as the catalog has it now."""
    wanted = {file.path for file in files}
    rows = store.read(
        "SELECT l.path, a.name, a.id FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id "
        "ORDER BY l.path"
    )
    return [AddedFile(*row) for row in rows if row[0] in wanted]
