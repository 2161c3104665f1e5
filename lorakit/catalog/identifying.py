"""Read pending adapters whole, since somebody has something to say of them or needs their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorakit.catalog.hashing import hash_and_store
from lorakit.catalog.headers import Headers
from lorakit.catalog.queries import adapters_by_ids
from lorakit.catalog.records import AdapterRecord, HashProgress
from lorakit.catalog.scanning import FoundFile, look_again
from lorakit.catalog.tally import Tally
from lorakit.db.store import Store
from lorakit.errors import BadFile, CatalogError
from lorakit.formats.hashing import FileHashes, hash_file
from lorakit.formats.header import read_header


def identified(
    store: Store, records: Sequence[AdapterRecord], on_hash: HashProgress | None
) -> list[AdapterRecord]:
    """What `Catalog.identified` does."""
    waiting = [one for one in records if one.pending and not one.missing]
    if not waiting:
        return list(records)
    files = look_again(str(one.path) for one in waiting)
    done = _stored(store, files, on_hash) if store.writable else {}
    found: dict[int, AdapterRecord] = {}
    for record in records:
        now = done.get(str(record.path)) if record.pending else None
        known = now or (_in_memory(record) if record.pending and not record.missing else record)
        found.setdefault(known.id, known)
    return list(found.values())


def _stored(
    store: Store, files: Sequence[FoundFile], on_hash: HashProgress | None
) -> Mapping[str, AdapterRecord]:
    """The adapters of `files` by path, once they were read and stored; what cannot be is left out."""
    total = sum(file.fingerprint.size for file in files)
    done = 0

    def after(file: FoundFile) -> None:
        nonlocal done
        done += file.fingerprint.size
        if on_hash is not None:
            on_hash(Path(file.path), done, total)

    try:
        hash_and_store(store, files, Headers(), Tally(), after=after)
    except CatalogError:
        # Somebody is writing. Whoever reads has the hashes all the same.
        return {}
    return _at(store, [file.path for file in files])


def _at(store: Store, paths: Iterable[str]) -> dict[str, AdapterRecord]:
    numbers: dict[str, int] = {}
    for path in paths:
        rows = store.read("SELECT adapter_id FROM location WHERE path = :path", {"path": path})
        numbers.update((path, number) for (number,) in rows)
    records = {one.id: one for one in adapters_by_ids(store, list(set(numbers.values())))}
    return {path: records[number] for path, number in numbers.items() if number in records}


def _in_memory(record: AdapterRecord) -> AdapterRecord:
    """The record with the hashes of its file, where that can be read; nothing is kept."""
    assert record.path is not None
    try:
        hashes: FileHashes = hash_file(record.path, read_header(record.path).data_offset)
    except BadFile:
        return record
    return replace(record, file_sha256=hashes.file_sha256, tensor_sha256=hashes.tensor_sha256)
