"""Bringing the index up to date with the catalog.

Three things tell whether it is: the catalog file as it stands on the disk; where that has changed, what
was written of files and claims, as the catalog counts it, and the journal for what people say; and the
rows themselves where files changed. So a tag costs what it touches however large the catalog is, a scan
costs one look at every row, and in between nothing is read at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from lorakit.catalog.paths import stat_of
from lorakit.catalog.query.index import Index
from lorakit.db.counting import READ, counts
from lorakit.db.opening import Target
from lorakit.db.store import Store
from lorakit.mounts import network_kind

# A file that was written within this time may be written again without its time telling.
_RACY_NS = 100_000_000
# Some file systems keep whole seconds, FAT every other one.
_COARSE_NS = 1_000_000_000
_RACY_COARSE_NS = 2 * _COARSE_NS + _RACY_NS
# Numbers that are found without counting, and tell of rows that another program has put in.
_FILES = (
    "SELECT (SELECT max(id) FROM location), (SELECT max(seen_at) FROM location), "
    "(SELECT max(id) FROM adapter)"
)
_CLAIMS = "SELECT count(*), max(id), sum(id), max(recorded_at) FROM claim"
_CURATED = ("fact", "tag", "member")
# The last change of the journal, or one of its changes, with the moment of its step.
_LAST = (
    "SELECT change.id, step.at FROM change JOIN step ON step.id = change.step_id "
    "WHERE change.id = {}"
)
# The tables whose rows say something of a content, by their name in the journal.
_JOURNAL = (
    'SELECT id, table_name, "before", "after" FROM change WHERE id > :last '
    "AND table_name IN ('fact', 'tag', 'member', 'claim', 'adapter')"
)


def refresh(index: Index, store: Store) -> None:
    """Make the index say what the catalog says. Raises `sqlite3.Error` where it cannot be written."""
    stamp = _stamp(store.target)
    before = index.state()
    if before and stamp is not None and before["stamp"] == stamp:
        return
    with index.writing():
        # Another process may have done it meanwhile; what is newer than `now` is found the next time.
        before = index.state()
        now = {"stamp": stamp, **_figures(store, before)}
        stale = _stale_contents(store, before, now)
        if stale is None:
            index.clear()
            before = {}
        if not before or before["files"] != now["files"]:
            _take_files(index, store)
        if stale:
            _take_contents(index, store, stale)
        index.keep_state(now)


def _stamp(target: Target) -> list[int] | None:
    """What the disk says of the catalog file and its log, None where that is not to be trusted."""
    if target.path is None or network_kind(target.path) is not None:
        # The clock of a server need not be ours.
        return None
    found: list[int] = []
    for path in (target.path, target.path.with_name(f"{target.path.name}-wal")):
        stat = stat_of(path)
        # A log is made empty by whoever opens the catalog.
        written = stat is not None and stat.st_size > 0
        found += [stat.st_mtime_ns, stat.st_size, stat.st_ino] if stat and written else [0, 0, 0]
    coarse = not (found[0] % _COARSE_NS or found[3] % _COARSE_NS)
    window = _RACY_COARSE_NS if coarse else _RACY_NS
    racy = abs(time.time_ns() - max(found[0], found[3])) < window
    return None if racy or not found[1] else found


def _figures(store: Store, before: dict[str, Any]) -> dict[str, Any]:
    """What tells whether the catalog has changed since it was as `before` says, {} for never."""
    if store.target.path is None:
        # An index in memory is made anew each time.
        return {}
    files, claims = counts(store.read(READ)[0][0])
    known = before.get("claims")
    curated = [store.read(f"SELECT max(id) FROM {table}")[0][0] for table in _CURATED]
    return {
        "change": _change(store, "(SELECT max(id) FROM change)"),
        "files": [files, *store.read(_FILES)[0]],
        "claims": known if known and known[0] == claims else [claims, *store.read(_CLAIMS)[0]],
        "curated": curated,
    }


def _change(store: Store, number: str) -> list[Any] | None:
    return next((list(row) for row in store.read(_LAST.format(number))), None)


def _stale_contents(
    store: Store, before: dict[str, Any], now: dict[str, Any]
) -> dict[str, set[Any]] | None:
    """The contents and adapters of which something else is said; None where all must be read anew."""
    last = before["change"][0] if before and before["change"] else 0
    # A journal that does not go on from where it was is that of a copy that was put back.
    if not before or (last and _change(store, str(last)) != before["change"]):
        return None
    contents: set[Any] = set()
    adapters: set[Any] = set()
    tables: set[str] = set()
    for _, table, *rows in store.read(_JOURNAL, {"last": last}):
        tables.add(table)
        for row in (json.loads(text) for text in rows if text):
            if table == "adapter":
                adapters.add(row.get("id"))
            else:
                contents.add(row.get("content"))
    for table, was, is_now in zip(_CURATED, before["curated"], now["curated"], strict=True):
        # Rows that came without the journal were not written by this version.
        if was != is_now and table not in tables:
            return None
    claimed = _claimed(store, before["claims"][1:], now["claims"][1:])
    if claimed is None and "claim" not in tables:
        return None
    return {"contents": contents | (claimed or set()), "adapters": adapters}


def _claimed(store: Store, before: list[Any], now: list[Any]) -> set[str] | None:
    """The contents about which claims were made or changed; None where some may have gone."""
    if before == now:
        return set()
    rows = store.read(
        "SELECT id, content FROM claim WHERE id > :last OR recorded_at >= :since",
        {"last": before[1] or 0, "since": before[3] or ""},
    )
    new = [number for number, _ in rows if number > (before[1] or 0)]
    grown = now[0] == before[0] + len(new) and (now[2] or 0) == (before[2] or 0) + sum(new)
    return {content for _, content in rows} if grown else None


def _take_files(index: Index, store: Store) -> None:
    """Compare what the catalog has of files with what the index holds, and take what differs."""
    # Most queries find the index as it has to be.
    from lorakit.catalog.query.rows import index_adapters, places_of, remove_adapters

    known = {
        item: (name, sha, places)
        for item, name, sha, places in index.read(
            "SELECT item, stored_name, file_sha256, places FROM file"
        )
    }
    places = places_of(store.read("SELECT adapter_id, path, state FROM location"))
    stale: dict[int, str] = {}
    for number, name, sha in store.read("SELECT id, name, file_sha256 FROM adapter"):
        if known.pop(number, None) != (name, sha, places.get(number, "")):
            stale[number] = places.get(number, "")
    remove_adapters(index, list(known))
    index_adapters(index, store, stale)


def _take_contents(index: Index, store: Store, stale: dict[str, set[Any]]) -> None:
    from lorakit.catalog.query.rows import index_adapters

    ids: set[int] = {number for number in stale["adapters"] if number is not None}
    for content in stale["contents"]:
        ids.update(n for (n,) in index.read("SELECT item FROM file WHERE content = ?", [content]))
    there = _of_index(index, ids)
    index_adapters(index, store, there)


def _of_index(index: Index, ids: Iterable[int]) -> dict[int, str]:
    """The places of those of `ids` that the index holds."""
    found: dict[int, str] = {}
    for number in ids:
        rows = index.read("SELECT places FROM file WHERE item = ?", [number])
        found.update((number, places) for (places,) in rows)
    return found
