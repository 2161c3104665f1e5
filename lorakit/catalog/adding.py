"""Add files to the catalog: find, compare, read, store.

Files are read and hashed outside any transaction, since that takes seconds; what was read is stored
in batches. So others can write in between, and whoever is interrupted loses one batch at most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.naming import check_name, normal
from lorakit.catalog.paths import absolute, holds_file
from lorakit.catalog.records import AddedFile, AddResult, Progress, RejectedFile
from lorakit.catalog.scanning import (
    Findings,
    Fingerprint,
    FoundFile,
    find_files,
    look_again,
    read_adapter,
)
from lorakit.db.store import Store
from lorakit.errors import BadFile, BadUsage

if TYPE_CHECKING:
    from lorakit.catalog.storing import Outcome, ReadFile

BATCH_FILES = 64
_BATCH_SECONDS = 2.0
_PLACES = """
SELECT l.path, l.size, l.mtime_ns, l.inode, l.state, a.name, a.id
FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """A known location, as it was seen last."""

    fingerprint: Fingerprint
    state: str
    name: str
    adapter_id: int


@dataclass
class _Tally:
    """The result, while it grows."""

    stored: dict[Outcome, list[AddedFile]] = field(default_factory=dict)
    skipped: list[RejectedFile] = field(default_factory=list)
    failed: list[RejectedFile] = field(default_factory=list)

    def note(self, outcome: Outcome, file: AddedFile) -> None:
        self.stored.setdefault(outcome, []).append(file)

    def result(self) -> AddResult:
        return AddResult(
            **{outcome: tuple(files) for outcome, files in self.stored.items()},
            skipped_not_adapter=tuple(self.skipped),
            failed=tuple(self.failed),
        )


def add_files(
    store: Store, paths: Sequence[Path], name: str | None, on_progress: Progress | None
) -> AddResult:
    """What `Catalog.add` does."""
    findings = find_files(paths)
    if name is not None:
        _check_single(name, findings)
    places = _known_places(store, findings)
    tally = _Tally(failed=list(findings.failed))
    # A walk enters a folder once; what is known by another path into it has changed with it.
    found = {file.path for file in findings.files}
    unseen = look_again(path for path in places if path not in found)
    changed = [file for file in unseen if file.fingerprint != places[file.path].fingerprint]
    for file in findings.files:
        place = places.get(file.path)
        if name is None and place is not None and place.fingerprint == file.fingerprint:
            tally.note("known", AddedFile(Path(file.path), place.name, place.adapter_id))
        else:
            changed.append(file)
    _update_states(store, places, [*findings.files, *unseen])
    # Files that came to a new path go first: where one was put in another's place, the catalog then
    # knows already where that one has gone.
    changed.sort(key=lambda file: file.path in places)
    _read_and_store(store, changed, tally, normal(name) if name else None, on_progress)
    return tally.result()


def read_again(
    store: Store, paths: Sequence[Path], on_progress: Progress | None = None
) -> AddResult:
    """Read these files even where their size and time are as they were; what became of each."""
    findings = find_files([path for path in paths if holds_file(path)])
    tally = _Tally(failed=list(findings.failed))
    _read_and_store(store, findings.files, tally, None, on_progress)
    return tally.result()


def note_absent(store: Store, folders: Iterable[Path]) -> None:
    """What `Catalog.note_absent` does."""
    findings = Findings(folders=[absolute(folder) for folder in folders])
    _update_states(store, _known_places(store, findings), ())


def _check_single(name: str, findings: Findings) -> None:
    if findings.folders or len(findings.files) + len(findings.failed) != 1:
        raise BadUsage("A name can be given to one file only.", hint="Add the files one by one.")
    check_name(name)


def _known_places(store: Store, findings: Findings) -> dict[str, _Place]:
    """The known locations in the folders and of the files that were found."""
    rows = []
    for folder in findings.folders:
        # All paths below the folder are one range of the index on paths.
        below = folder.rstrip(os.sep) + os.sep
        bounds = {"low": below, "high": below[:-1] + chr(ord(os.sep) + 1)}
        rows += store.read(f"{_PLACES} WHERE l.path >= :low AND l.path < :high", bounds)
    seen = {row[0] for row in rows}
    for file in findings.files:
        if file.path not in seen and not _is_below(file.path, findings.folders):
            rows += store.read(f"{_PLACES} WHERE l.path = :path", {"path": file.path})
    return {row[0]: _Place(Fingerprint(*row[1:4]), *row[4:]) for row in rows}


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _update_states(store: Store, places: dict[str, _Place], files: Iterable[FoundFile]) -> None:
    """Note known locations that have gone, and unchanged ones that have come back."""
    found = {file.path: file.fingerprint for file in files}
    gone = [
        path
        for path, place in places.items()
        if path not in found and place.state == "present" and not holds_file(path)
    ]
    back = [
        path
        for path, place in places.items()
        if place.state == "missing" and found.get(path) == place.fingerprint
    ]
    if gone or back:
        from lorakit.catalog.storing import mark

        with store.writing() as session:
            mark(session, gone, "missing")
            mark(session, back, "present")


def _read_and_store(
    store: Store,
    files: Sequence[FoundFile],
    tally: _Tally,
    name: str | None,
    on_progress: Progress | None,
) -> None:
    batch: list[ReadFile] = []
    due = time.monotonic() + _BATCH_SECONDS
    for number, file in enumerate(files, start=1):
        if on_progress is not None:
            on_progress(Path(file.path), number, len(files))
        read = _read(file, tally)
        if read is not None:
            batch.append(read)
        if len(batch) >= BATCH_FILES or (batch and time.monotonic() > due):
            _store_batch(store, batch, tally, name)
            batch, due = [], time.monotonic() + _BATCH_SECONDS
    if batch:
        _store_batch(store, batch, tally, name)


def _read(file: FoundFile, tally: _Tally) -> ReadFile | None:
    from lorakit.catalog.storing import ReadFile

    try:
        found = read_adapter(file)
    except BadFile as error:
        tally.failed.append(RejectedFile(Path(file.path), error.message, error.hint))
        return None
    if isinstance(found, RejectedFile):
        tally.skipped.append(found)
        return None
    assert found.hashes is not None
    return ReadFile(file, found, found.hashes.file_sha256, found.hashes.tensor_sha256)


def _store_batch(store: Store, batch: list[ReadFile], tally: _Tally, name: str | None) -> None:
    from lorakit.catalog.storing import store_batch

    with store.writing() as session:
        stored = store_batch(session, batch, name)
    # Only what is committed counts.
    for outcome, file in stored:
        tally.note(outcome, file)
