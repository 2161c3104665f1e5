"""What the index holds of adapters, read from the catalog some at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorakit.catalog.facts import chunks, facts_of
from lorakit.catalog.query.changing import USUAL, Row, change_pages
from lorakit.catalog.query.dates import microseconds
from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.index import Index
from lorakit.catalog.query.patterns import parted
from lorakit.catalog.query.touching import touched_of
from lorakit.catalog.tags import tags_of
from lorakit.db.store import Store
from lorakit.db.times import from_text

# The one character that is in no path.
_END = "\0"
_FACTS = ("title", "notes", "trigger_words", "rating", "favourite", "strength", "base_model")
_COLUMNS = (
    "id, name, file_sha256, tensor_sha256, file_size, layout, algo, rank_min, rank_max, module_count, "
    "components, base_model, dtype, title, trigger_words, license, added_at, blocks, kinds"
)
_FACETS = ("algo", "layout", "dtype", "base", "components")
_TERMS = ("header", "licenses", "own", "other")
_TOUCHES = ("blocks", "kinds")
# From the loosest to the strictest, as `lorakit.licenses.terms` has them.
_STRICTNESS = ("", "allow", "allow_with_obligations", "unknown", "deny")
_LICENSE_WORD = re.compile(r"[^\s()]+")


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said of the contents of one batch."""

    facts: dict[str, dict[str, Any]]
    tags: dict[str, tuple[str, ...]]
    collections: dict[str, list[str]]
    claims: dict[str, list[tuple[str, str, str]]]


def index_adapters(index: Index, store: Store, places: dict[int, str]) -> None:
    """Put adapters into the index as the catalog has them now, in place of what it held of them.

    `places` holds the adapters by id, with their places as `file.places` keeps them. Call it inside a
    transaction of the index.
    """
    facets, terms = _Shared(index, "facet", _FACETS), _Shared(index, "terms", _TERMS)
    touches = _Shared(index, "touch", _TOUCHES)
    # By name, so that each batch is of few pages.
    for ids in _batches(_by_name(store, places)):
        rows = store.read(f"SELECT {_COLUMNS} FROM adapter WHERE id IN ({_numbers(ids)})")
        said = _said_of(store, list(dict.fromkeys(row[3] for row in rows)))
        # Rows that are older than these columns.
        unpacked = touched_of(store, [row[0] for row in rows if row[-2] is None])
        new = _NewRows()
        for *row, blocks, kinds in rows:
            told = (blocks, kinds.split()) if blocks is not None else unpacked.get(row[0], ("", ()))
            touch = touches.number(told[0], parted(told[1]))
            _add(new, facets, terms, row, said, places[row[0]], touch)
        _put(index, ids, new)


def remove_adapters(index: Index, ids: Sequence[int]) -> None:
    """Take adapters out of the index."""
    for some in _batches(ids):
        _put(index, some, _NewRows())


def _put(index: Index, ids: Sequence[int], new: _NewRows) -> None:
    """Take adapters out of the index, and put the new rows in."""
    old = index.read(f"SELECT name, item, content FROM file WHERE item IN ({_numbers(ids)})")
    change_pages(index, [(parted((name,)), item) for name, item, _ in old], new.rows)
    for table in ("collected", "file"):
        index.write(f"DELETE FROM {table} WHERE item = ?", [(item,) for _, item, _ in old])
    index.write("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)", new.files)
    contents = {(content,) for _, _, content in old} | {(file[4],) for file in new.files}
    index.write("DELETE FROM twice WHERE content = ?", list(contents))
    index.write(
        "INSERT INTO twice SELECT content FROM file WHERE content = ? "
        "GROUP BY content HAVING count(*) > 1",
        list(contents),
    )
    index.write("INSERT OR IGNORE INTO collected VALUES (?, ?)", new.collected)


def _by_name(store: Store, adapters: Iterable[int]) -> list[int]:
    """The adapters that there are, in the order of their folded names."""
    found: list[tuple[str, int]] = []
    for ids in _batches(list(adapters)):
        rows = store.read(f"SELECT name, id FROM adapter WHERE id IN ({_numbers(ids)})")
        found += [(fold(name), number) for name, number in rows]
    return [number for _, number in sorted(found)]


def places_of(rows: Iterable[tuple[int, str, str]]) -> dict[int, str]:
    """The places of adapters in one text each, from rows of adapter, path and state."""
    found: dict[int, list[str]] = {}
    for adapter, path, state in rows:
        found.setdefault(adapter, []).append(("-" if state == "missing" else "+") + path)
    return {adapter: _END.join(sorted(paths)) for adapter, paths in found.items()}


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), USUAL):
        yield ids[start : start + USUAL]


def _numbers(ids: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in ids)


def _said_of(store: Store, contents: Sequence[str]) -> _Said:
    collections: dict[str, list[str]] = {}
    claims: dict[str, list[tuple[str, str, str]]] = {}
    for chunk in chunks(contents):
        names = ", ".join(f":c{number}" for number in range(len(chunk)))
        parameters = {f"c{number}": content for number, content in enumerate(chunk)}
        for content, collection in store.read(
            f"SELECT content, collection FROM member WHERE content IN ({names})", parameters
        ):
            collections.setdefault(content, []).append(collection)
        for content, origin, terms in store.read(
            f"SELECT content, origin, terms FROM claim WHERE content IN ({names})", parameters
        ):
            said = json.loads(terms)
            share, license = said.get("share_merges"), said.get("license")
            claims.setdefault(content, []).append((origin, str(share), str(license or "")))
    facts = {
        content: {field: records[0].value for field, records in by_field.items()}
        for content, by_field in facts_of(store, contents, _FACTS).items()
    }
    return _Said(facts, tags_of(store, contents), collections, claims)


@dataclass(frozen=True, slots=True)
class _NewRows:
    """What one batch becomes: the rows of pages, of `file` and of `collected`."""

    rows: list[Row] = field(default_factory=list)
    files: list[tuple[object, ...]] = field(default_factory=list)
    collected: list[tuple[object, ...]] = field(default_factory=list)


class _Shared:
    """The numbers of what many adapters share, in a table of the index; each new one is inserted."""

    def __init__(self, index: Index, table: str, columns: Sequence[str]) -> None:
        self._index = index
        self._table = table
        rows = index.read(f"SELECT {', '.join(columns)}, id FROM {table}")
        self._known: dict[tuple[str, ...], int] = {tuple(row[:-1]): row[-1] for row in rows}

    def number(self, *values: str) -> int:
        """The number of the row with these values, in the order of the table's columns."""
        if values not in self._known:
            marks = ", ?" * len(values)
            self._index.write(f"INSERT INTO {self._table} VALUES (NULL{marks})", [values])
            self._known[values] = int(self._index.read(f"SELECT max(id) FROM {self._table}")[0][0])
        return self._known[values]


def _add(
    new: _NewRows,
    facets: _Shared,
    terms: _Shared,
    row: Sequence[Any],
    said: _Said,
    places: str,
    touch: int,
) -> None:
    """Put the rows of one adapter, whose columns are `row`, to those of its batch."""
    number, stored, sha, content, size, layout, algo, low, high, modules = row[:10]
    components, base, dtype, title, words, license, added = row[10:]
    facts = said.facts.get(content, {})
    name, title = fold(stored), fold(facts.get("title") or title or "")
    triggers = facts.get("trigger_words") or json.loads(words)
    notes = fold(facts.get("notes") or "")
    facet = facets.number(
        fold(algo),
        fold(layout),
        fold(dtype),
        fold(facts.get("base_model") or base or ""),
        _folded(json.loads(components)),
    )
    term = terms.number(license or "", *_terms(said.claims.get(content, ()), license))
    there = [place for place in places.split(_END) if place]
    missing = not any(place.startswith("+") for place in there)
    paths = sorted({fold(place[1:]) for place in there})
    strength = facts.get("strength")
    texts = (
        parted((name,)),
        parted((title,) if title else ()),
        _folded(triggers),
        parted((notes,) if notes else ()),
        _folded(said.tags.get(content, ())),
        parted(paths),
    )
    numbers = (
        *(number, facet, term, touch, low, high, modules, size, microseconds(from_text(added))),
        *(facts.get("rating"), int(bool(facts.get("favourite")))),
        *(strength["value"] if strength else None, int(missing), len(paths)),
    )
    new.rows.append((*texts, *numbers))
    new.files.append((number, stored, name, sha, content, places))
    new.collected.extend((fold(one), number) for one in said.collections.get(content, ()))


def _folded(texts: Iterable[str]) -> str:
    return parted([fold(text) for text in texts])


def _terms(claims: Sequence[tuple[str, str, str]], header: str | None) -> tuple[str, str, str]:
    """The licences named, the strictest of the person's claims, and the strictest of the others."""
    named = " ".join([*(license for _, _, license in claims), header or ""])
    words = {fold(word) for word in _LICENSE_WORD.findall(named)} - {"and", "or", "with"}
    own = [share for origin, share, _ in claims if origin == "user"]
    others = [share for origin, share, _ in claims if origin != "user"]
    return parted(sorted(words)), _strictest(own), _strictest(others)


def _strictest(shares: Iterable[str]) -> str:
    known = [share if share in _STRICTNESS else "unknown" for share in shares]
    return max(known, key=_STRICTNESS.index, default="")
