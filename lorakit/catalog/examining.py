"""What is wrong with a catalog, or worth knowing, without reading its adapters' files again."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from stat import S_ISREG

from lorakit.catalog.audit import check_chain
from lorakit.catalog.covers import all_covers
from lorakit.catalog.doctor import Finding
from lorakit.catalog.emptied import emptied_roots
from lorakit.catalog.lying import where_it_lies
from lorakit.catalog.paths import is_below, stat_of
from lorakit.catalog.pending import is_pending
from lorakit.catalog.queries import all_bases
from lorakit.catalog.verifying import Known, is_unmoved, known_places
from lorakit.db.store import Store
from lorakit.errors import CatalogError
from lorakit.formats.sidecars.beside import files_beside
from lorakit.formats.sidecars.reading import read_beside

# SHA-256 of nothing at all, which some trainers write in place of a hash.
_OF_NOTHING = "e3b0c442"
_MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class _File:
    """A place where a file is now."""

    place: Known
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class _Named:
    """An adapter's row, and its places on record."""

    name: str
    content: str
    places: Sequence[Known]
    files: Sequence[_File]

    @property
    def pending(self) -> bool:
        """Whether what it holds is not known yet."""
        return is_pending(self.content)


def examine(store: Store, adapters: Iterable[int] | None) -> list[Finding]:
    """What `Catalog.examine` does."""
    ids = None if adapters is None else set(adapters)
    found = _try(_database(store))
    for check in (_audit, _bases, where_it_lies, emptied_roots, _covers):
        found += _try(check(store))
    emptied = [one.path for one in found if one.kind == "emptied" and one.path]
    found += (one for one in _try(_adapters(store, ids)) if not _is_told(one, emptied))
    # A damaged database says the same at each attempt.
    return list(dict.fromkeys(found))


def _is_told(one: Finding, emptied: Iterable[str]) -> bool:
    """Whether a file is missing with its whole folder, which is told of all in it at once."""
    return one.kind == "missing" and any(is_below(one.path or "", folder) for folder in emptied)


def _try(findings: Iterator[Finding]) -> list[Finding]:
    """The findings, as far as the database can be read."""
    found: list[Finding] = []
    try:
        found.extend(findings)
    except CatalogError as error:
        found.append(Finding("database", error.message))
    return found


def _database(store: Store) -> Iterator[Finding]:
    if not store.target.url.startswith("sqlite"):
        return
    for (fault,) in store.read(f"PRAGMA integrity_check({_MOST_FAULTS})"):
        if fault != "ok":
            yield Finding("database", str(fault))
    for table, row, parent, _ in store.read("PRAGMA foreign_key_check")[:_MOST_FAULTS]:
        yield Finding("database", f"row {row} of {table} belongs to no row of {parent}")


def _audit(store: Store) -> Iterator[Finding]:
    check = check_chain(store)
    if check.broken is not None:
        yield Finding("audit", f"{check.count} on record: {check.reason}")


def _bases(store: Store) -> Iterator[Finding]:
    for base in all_bases(store):
        path = str(base.path)
        if base.missing:
            gone = base.what_is_missing().removesuffix(".")
            yield Finding("base", f"{base.name}: missing: {gone}", base.name, path)
        elif base.changed:
            text = f"{base.name}: changed since it was registered: {path}"
            yield Finding("base", text, base.name, path)


def _covers(store: Store) -> Iterator[Finding]:
    known = {content for (content,) in store.read("SELECT tensor_sha256 FROM adapter")}
    for content, path in sorted(all_covers().items()):
        if content not in known:
            yield Finding("cover", str(path), path=str(path))


def _adapters(store: Store, ids: Container[int] | None) -> Iterator[Finding]:
    """What there is to say of adapters; of rows `ids` only, where they are given."""
    by_id = _named(store)
    wanted = {number: one for number, one in by_id.items() if ids is None or number in ids}
    for one in wanted.values():
        yield from _of_files(one)
    yield from _beside(wanted.values(), by_id.values())
    yield from _inherited(store, wanted, by_id.values())
    yield from _alike(wanted.values(), by_id.values())


def _named(store: Store) -> dict[int, _Named]:
    places: dict[int, list[Known]] = defaultdict(list)
    for place in known_places(store, None):
        places[place.adapter_id].append(place)
    rows = store.read("SELECT id, name, tensor_sha256 FROM adapter ORDER BY name")
    return {
        number: _Named(name, content, places[number], list(_files(places[number])))
        for number, name, content in rows
    }


def _files(places: Iterable[Known]) -> Iterator[_File]:
    for place in places:
        stat = stat_of(place.path)
        if stat is not None and S_ISREG(stat.st_mode):
            yield _File(place, stat)


def _of_files(one: _Named) -> Iterator[Finding]:
    name = one.name
    if not one.places:
        yield Finding("replaced", name, name)
    elif not one.files:
        path = max(one.places, key=lambda place: place.seen_at).path
        yield Finding("missing", f"{name}: last seen at {path}", name, path)
    if one.pending and one.files:
        yield Finding("pending", name, name, one.files[0].place.path)
    for file in one.files:
        path = file.place.path
        if not is_unmoved(file.place, file.stat):
            yield Finding("changed", f"{name}: {path}", name, path)
        elif not os.access(path, os.R_OK):
            yield Finding("unreadable", f"{name}: {path}", name, path)
    # Links take no room of their own.
    own = {(file.stat.st_dev, file.stat.st_ino): file.place.path for file in one.files}
    if len(own) > 1:
        yield Finding("copy", f"{name}: {', '.join(sorted(own.values()))}", name)


def _beside(wanted: Iterable[_Named], known: Iterable[_Named]) -> Iterator[Finding]:
    hashes: dict[str, set[str]] = defaultdict(set)
    for one in known:
        hashes[one.content] |= {one.content, *(place.hashes.file_sha256 for place in one.places)}
    files = {file.place.path: one for one in wanted if not one.pending for file in one.files}
    beside = files_beside(files)
    for path, one in files.items():
        for problem in read_beside(path, beside.get(path, ()), hashes[one.content]).problems:
            yield Finding("sidecar", f"{os.path.dirname(path)}: {problem}", one.name, path)  # noqa: PTH120


def _inherited(
    store: Store, wanted: Mapping[int, _Named], known: Iterable[_Named]
) -> Iterator[Finding]:
    """Hashes that headers state and that are not those of the file, nor of nothing."""
    names: dict[str, str] = {}
    for one in known:
        names.setdefault(one.content, one.name)
    for number, document, file_sha256 in store.read(
        "SELECT r.adapter_id, r.document, a.file_sha256 FROM report AS r "
        "JOIN adapter AS a ON a.id = r.adapter_id ORDER BY a.name"
    ):
        if number not in wanted or wanted[number].pending:
            continue
        one = wanted[number]
        for stated in json.loads(document)["info"]["claimed_hashes"]:
            if stated.startswith(_OF_NOTHING) or _is_of(stated, one.content, file_sha256):
                continue
            whose = f"that of {names[stated]}" if stated in names else f"{stated[:12]}..."
            text = f"{one.name}: derived file, header hash inherited: {whose}"
            yield Finding("inherited", text, one.name)


def _is_of(stated: str, *hashes: str) -> bool:
    return bool(stated) and any(own.startswith(stated) for own in hashes)


def _alike(wanted: Iterable[_Named], known: Iterable[_Named]) -> Iterator[Finding]:
    contents = {one.content for one in wanted}
    by_content: dict[str, list[str]] = defaultdict(list)
    for one in known:
        if one.files and one.content in contents:
            by_content[one.content].append(one.name)
    for names in by_content.values():
        if len(names) > 1:
            yield Finding("header", ", ".join(names), names[0])
