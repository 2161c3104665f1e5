"""Read files whole: hash them, some at a time, and store what they are.

Files are hashed outside any transaction, since that takes long; what was found out is stored in
batches. So others can write in between, and whoever is interrupted loses one batch at most.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lorakit.catalog.headers import Headers, RawHeader, require_unchanged
from lorakit.catalog.records import RejectedFile
from lorakit.catalog.scanning import FoundFile
from lorakit.catalog.tally import Tally
from lorakit.db.store import Store
from lorakit.errors import BadFile
from lorakit.formats.hashing import FileHashes, start_hashing

if TYPE_CHECKING:
    from lorakit.catalog.storing import ReadFile

BATCH_FILES = 64
_BATCH_SECONDS = 2.0
# Of each file two hashes are taken at once, so a pair of cores has one file to itself. More files than
# this at once wait for the disk.
_MOST_AT_ONCE = 4
# Called with a file before it is read, and with it once it is done.
Told = Callable[[FoundFile], None]


def hash_and_store(
    store: Store,
    files: Sequence[FoundFile],
    headers: Headers,
    tally: Tally,
    *,
    name: str | None = None,
    before: Told = lambda file: None,
    after: Told = lambda file: None,
) -> None:
    """Read files whole and store them; `name` names the adapter of the only one."""
    batch: list[ReadFile] = []
    due = time.monotonic() + _BATCH_SECONDS
    for file, read in _read(files, headers, tally, before):
        if read is not None:
            batch.append(read)
        if len(batch) >= BATCH_FILES or (batch and time.monotonic() > due):
            _store(store, batch, tally, name)
            batch, due = [], time.monotonic() + _BATCH_SECONDS
        after(file)
    if batch:
        _store(store, batch, tally, name)


def _read(
    files: Sequence[FoundFile], headers: Headers, tally: Tally, before: Told
) -> Iterator[tuple[FoundFile, ReadFile | None]]:
    """Each file with what was found in it, in order; the next are hashed meanwhile."""
    waiting: deque[tuple[FoundFile, RawHeader, Callable[[], FileHashes]]] = deque()
    at_once = max(1, min(_MOST_AT_ONCE, (os.cpu_count() or 1) // 2))
    for file in files:
        before(file)
        raw = None if tally.is_lost(file) else _adapter_header(file, headers, tally)
        if raw is None:
            yield file, None
            continue
        waiting.append((file, raw, start_hashing(raw.path, raw.data_offset)))
        if len(waiting) >= at_once:
            yield _finish(*waiting.popleft(), headers, tally)
    while waiting:
        yield _finish(*waiting.popleft(), headers, tally)


def _adapter_header(file: FoundFile, headers: Headers, tally: Tally) -> RawHeader | None:
    """The header of an adapter. What is none is not hashed: it may be a checkpoint of gigabytes."""
    try:
        raw = headers.open(file)
        refused = headers.refusal(raw)
    except BadFile as error:
        tally.fail(file, error)
        return None
    if refused is not None:
        tally.skipped.append(refused)
        return None
    return raw


def _finish(
    file: FoundFile,
    raw: RawHeader,
    wait: Callable[[], FileHashes],
    headers: Headers,
    tally: Tally,
) -> tuple[FoundFile, ReadFile | None]:
    from lorakit.catalog.storing import ReadFile

    try:
        hashes = wait()
        # Alphas lie all over the file, which is in memory by now.
        columns = headers.read(raw, scalars=True)
        require_unchanged(file)
    except BadFile as error:
        tally.fail(file, error)
        return file, None
    if isinstance(columns, RejectedFile):
        tally.skipped.append(columns)
        return file, None
    return file, ReadFile(file, columns, hashes)


def _store(store: Store, batch: list[ReadFile], tally: Tally, name: str | None) -> None:
    from lorakit.catalog.storing import store_batch

    with store.writing() as session:
        stored = store_batch(session, batch, name)
    # Only what is committed counts.
    for outcome, file in stored:
        tally.note(outcome, file)
