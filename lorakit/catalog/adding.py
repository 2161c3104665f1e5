"""Add files to the catalog: find them, compare them with what is known, read headers, then files.

Many new files are known by their headers first, which takes a thousandth of the time, and by their
content as they are read whole; an interrupted scan goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lorakit.catalog.arriving import added, index, without_moved
from lorakit.catalog.emptied import emptied_folders
from lorakit.catalog.hashing import BATCH_FILES, hash_and_store
from lorakit.catalog.headers import Headers
from lorakit.catalog.naming import check_adapter_name, normal
from lorakit.catalog.paths import absolute, holds_file, is_below, is_there
from lorakit.catalog.pending import is_pending
from lorakit.catalog.records import AddedFile, AddResult, HashProgress, Progress, RejectedFile
from lorakit.catalog.refused import Refused, keep_refused, refusal, refused_files
from lorakit.catalog.scanning import Findings, Fingerprint, FoundFile, find_files, look_again
from lorakit.catalog.tally import Tally
from lorakit.db.store import Store
from lorakit.errors import BadUsage

_PLACES = """
SELECT l.path, l.size, l.mtime_ns, l.inode, l.state, a.name, a.id, a.file_sha256
FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id
"""


class _Place(NamedTuple):
    """A known location, as it was seen last."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    state: str
    name: str
    adapter_id: int
    file_sha256: str

    @property
    def fingerprint(self) -> Fingerprint:
        """What told its file from others."""
        return Fingerprint(self.size, self.mtime_ns, self.inode)


def add_files(
    store: Store,
    paths: Sequence[Path],
    name: str | None,
    on_progress: Progress | None,
    on_hash: HashProgress | None = None,
    *,
    headers_only: bool = False,
) -> AddResult:
    """What `Catalog.add` does."""
    findings = find_files(paths)
    if name is not None:
        _check_single(name, findings)
    refused = refused_files(store)
    compared = _compare(store, findings, refused, always=name is not None)
    tally = Tally(findings.folders, skipped=list(compared.skipped))
    for rejected in findings.failed:
        tally.fail_found(rejected)
    tally.stored["known"] = compared.known
    try:
        _take(store, compared, tally, name, on_progress, on_hash, headers_only=headers_only)
    finally:
        keep_refused(store, refused, findings.files, tally.skipped)
    emptied = emptied_folders(store, findings.folders, compared.gone)
    return tally.result(emptied, findings.pickles)


def _take(
    store: Store,
    compared: _Compared,
    tally: Tally,
    name: str | None,
    on_progress: Progress | None,
    on_hash: HashProgress | None,
    *,
    headers_only: bool,
) -> None:
    """Read what has to be read, and note in `tally` what becomes of it."""
    headers, new = Headers(), compared.new
    if name is None:
        new = without_moved(store, new, headers, tally, on_progress)
    if headers_only or len(new) > BATCH_FILES:
        new = index(store, new, headers, tally, on_progress)
        on_progress = None
    if headers_only:
        tally.pending += added(store, [*new, *compared.pending])
        return
    # Files that came to a new path go first: where one was put in another's place, the catalog then
    # knows already where that one has gone.
    telling = _Telling([*new, *compared.pending, *compared.changed], on_progress, on_hash)
    hash_and_store(
        store,
        telling.files,
        headers,
        tally,
        name=normal(name.strip()) if name else None,
        before=telling.before,
        after=telling.after,
    )


def read_again(
    store: Store, paths: Sequence[Path], on_progress: Progress | None = None
) -> AddResult:
    """Read these files even where their size and time are as they were; what became of each."""
    findings = find_files([path for path in paths if holds_file(path)])
    tally = Tally(failed=list(findings.failed))
    telling = _Telling(findings.files, on_progress, None)
    hash_and_store(store, findings.files, Headers(), tally, before=telling.before)
    return tally.result()


def note_absent(store: Store, folders: Iterable[Path]) -> None:
    """What `Catalog.note_absent` does."""
    findings = Findings(folders=[absolute(folder) for folder in folders])
    # Each question could wait for a server that has just not answered.
    away = [folder for folder in findings.folders if not is_there(folder)]
    _update_states(store, _known_places(store, findings), {}, away)


@dataclass(frozen=True, slots=True)
class _Compared:
    """The files that were found, by what the catalog has of them."""

    new: list[FoundFile] = field(default_factory=list)
    pending: list[FoundFile] = field(default_factory=list)
    changed: list[FoundFile] = field(default_factory=list)
    known: list[AddedFile] = field(default_factory=list)
    skipped: list[RejectedFile] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def _compare(store: Store, findings: Findings, refused: Refused, *, always: bool) -> _Compared:
    """Compare files with what is known, and note what has gone and come; with `always` all is changed."""
    places = _known_places(store, findings)
    there = {file.path: file.fingerprint for file in findings.files}
    # A walk enters a folder once; what is known by another path into it has changed with it.
    unseen = look_again(sorted(places.keys() - there.keys()))
    compared = _Compared()
    compared.changed.extend(f for f in unseen if not places[f.path].fingerprint.fits(f.fingerprint))
    for file in findings.files:
        place = places.get(file.path)
        no_adapter = None if always else refused and refusal(file, refused)
        if no_adapter:
            compared.skipped.append(no_adapter)
        elif place is None:
            compared.new.append(file)
        elif always or not (
            # Compared as they are first: a scan has tens of thousands.
            place[1:4] == file.fingerprint or place.fingerprint.fits(file.fingerprint)
        ):
            compared.changed.append(file)
        elif is_pending(place.file_sha256):
            compared.pending.append(file)
        else:
            compared.known.append(AddedFile(file.path, place.name, place.adapter_id))
    there.update((file.path, file.fingerprint) for file in unseen)
    compared.gone.extend(_update_states(store, places, there))
    return compared


class _Telling:
    """Says how far reading has come, in files and in bytes."""

    def __init__(
        self,
        files: Sequence[FoundFile],
        on_progress: Progress | None,
        on_hash: HashProgress | None,
    ) -> None:
        self.files = files
        self._on_progress = on_progress
        self._on_hash = on_hash
        self._number = 0
        self._done = 0
        self._total = sum(file.fingerprint.size for file in files)

    def before(self, file: FoundFile) -> None:
        self._number += 1
        if self._on_progress is not None:
            self._on_progress(Path(file.path), self._number, len(self.files))

    def after(self, file: FoundFile) -> None:
        self._done += file.fingerprint.size
        if self._on_hash is not None:
            self._on_hash(Path(file.path), self._done, self._total)


def _check_single(name: str, findings: Findings) -> None:
    if findings.folders or len(findings.files) + len(findings.failed) != 1:
        raise BadUsage("A name can be given to one file only.", hint="Add the files one by one.")
    check_adapter_name(name)


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
        if file.path not in seen and not any(
            is_below(file.path, folder) for folder in findings.folders
        ):
            rows += store.read(f"{_PLACES} WHERE l.path = :path", {"path": file.path})
    return {row[0]: _Place._make(row) for row in rows}


def _update_states(
    store: Store,
    places: Mapping[str, _Place],
    found: Mapping[str, Fingerprint],
    away: Iterable[str] = (),
) -> list[str]:
    """Note known locations that have gone, and unchanged ones that have come back; the former.

    Nothing is asked of what lies below the folders `away`.
    """
    gone = [
        path
        for path in places.keys() - found.keys()
        if places[path].state == "present"
        and (any(is_below(path, folder) for folder in away) or not holds_file(path))
    ]
    back = [
        path
        for path, place in places.items()
        if place.state == "missing" and path in found and place.fingerprint.fits(found[path])
    ]
    if gone or back:
        from lorakit.catalog.storing import mark

        with store.writing() as session:
            mark(session, gone, "missing")
            mark(session, back, "present")
    return gone
