"""Asking the catalog a query: the index is made ready, asked, and the adapters are fetched."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
from typing import TypeVar

from lorakit.catalog import queries
from lorakit.catalog.query.collected import is_called
from lorakit.catalog.query.compiling import count_all, find_ids, whether
from lorakit.catalog.query.conditions import Context, Test
from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.index import Index, discard, index_path, open_index
from lorakit.catalog.query.parsing import BadQuery, parse
from lorakit.catalog.query.patterns import parted
from lorakit.catalog.query.refreshing import refresh
from lorakit.catalog.query.shared import Sql
from lorakit.catalog.query.syntax import Query, Text
from lorakit.catalog.records import AdapterRecord
from lorakit.db.store import Store
from lorakit.errors import BadUsage

# Whether a licence that a header names allows to share merges: allow, deny or unknown.
Share = Callable[[str], str]
T = TypeVar("T")
# What an index raises that is not as it was written, though SQLite may not see it.
_DAMAGE = (sqlite3.Error, ValueError, LookupError)
_MOST_LOOKS = 5
_DEEPEST = 20


class Search:
    """A catalog's index, open and up to date; `searching` is the way in."""

    def __init__(
        self, store: Store, share: Share | None = None, now: datetime | None = None
    ) -> None:
        """`share` judges the licences of headers, which count as unknown without it."""
        self._store = store
        self._share = share
        self._now = now
        self._index = _ready(store)

    def records(
        self, query: str | Query, limit: int | None = None, offset: int = 0
    ) -> list[AdapterRecord]:
        """The adapters that fit, in order; whether their files are there is asked of the disk.

        Where the query asks for missing files, what the disk says of those shown counts; of the others,
        what was last seen. Raises `BadQuery`.
        """
        parsed = _parsed(query)
        for _ in range(_MOST_LOOKS):
            found = queries.adapters_by_ids(self._store, self.ids(parsed, limit, offset))
            if not parsed.asks("missing") or not self._correct(found):
                break
        return found

    def names(self, query: str | Query, limit: int | None = None, offset: int = 0) -> list[str]:
        """The names of the adapters that fit, in order, without a look at their files."""
        parsed = _parsed(query)
        if parsed.asks("missing"):
            return [record.name for record in self.records(parsed, limit, offset)]
        ids = self.ids(parsed, limit, offset)
        if limit is not None:
            return [record.name for record in queries.adapters_by_ids(self._store, ids)]
        names = dict(self._answer(lambda: self._index.read("SELECT item, stored_name FROM file")))
        return [names[number] for number in ids]

    def ids(self, query: str | Query, limit: int | None = None, offset: int = 0) -> list[int]:
        """The rows of the adapters that fit, in order. Raises `BadQuery`."""
        parsed = _parsed(query)
        most = None if limit is None else limit + offset
        found = self._answer(
            lambda: find_ids(self._index, self._whether(parsed), parsed.sorts, most)
        )
        return found[offset:]

    def count(self, query: str | Query) -> int:
        """How many adapters fit, by what was last seen of their files."""
        parsed = _parsed(query)
        return self._answer(lambda: count_all(self._index, self._whether(parsed)))

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def _whether(self, query: Query, inside: tuple[str, ...] = ()) -> Test:
        now = self._now or datetime.now().astimezone()
        smart = partial(self._smart, inside=inside)
        return whether(query, Context(now, self._numbers, cache(self._shares), smart))

    def _numbers(self, sql: Sql) -> frozenset[int]:
        return frozenset(number for (number,) in self._index.read(sql.text, sql.values))

    def _shares(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {"allow": [], "deny": [], "unknown": []}
        for (named,) in self._index.read("SELECT DISTINCT header FROM terms WHERE header <> ''"):
            share = self._share(named) if self._share else "unknown"
            found["allow" if share.startswith("allow") else share].append(named)
        return found

    def _smart(self, wanted: Text, inside: tuple[str, ...]) -> list[Test]:
        """The tests of the smart collections of that name, each of whose queries is asked anew."""
        found = []
        for name, text in self._store.read(
            "SELECT name, query FROM collection WHERE query IS NOT NULL"
        ):
            if not is_called(name, wanted):
                continue
            if name in inside or len(inside) > _DEEPEST:
                chain = " > ".join([*inside, name])
                raise BadUsage(
                    f"The collection {name!r} asks for itself: {chain}.",
                    hint="Give one of them another query: lorakit collection change NAME --query QUERY",
                )
            try:
                query = parse(text)
            except BadQuery as error:
                message = (
                    f"The collection {name!r} has a query that cannot be read. {error.message}"
                )
                raise BadUsage(message, hint=error.hint) from error
            found.append(self._whether(query, (*inside, name)))
        return found

    def _correct(self, records: Sequence[AdapterRecord]) -> bool:
        """Let the index know which of these files are missing now; whether that was news."""
        from lorakit.catalog.query.changing import mark_missing

        missing = {(parted((fold(one.name),)), one.id): one.missing for one in records}
        with suppress(sqlite3.OperationalError):
            return mark_missing(self._index, missing)
        return False

    def _answer(self, ask: Callable[[], T]) -> T:
        """What the index answers; a file that turns out to be damaged is made anew first."""
        for last in (False, True):
            try:
                with self._index.reading():
                    return ask()
            except _DAMAGE as error:
                self._index.close()
                if last:
                    raise
                self._index = _in_place_of(self._store, error)
        raise AssertionError("unreachable")


@contextmanager
def searching(store: Store, share: Share | None = None) -> Iterator[Search]:
    """The search of a catalog, closed at the end."""
    search = Search(store, share)
    try:
        yield search
    finally:
        search.close()


def _parsed(query: str | Query) -> Query:
    return parse(query) if isinstance(query, str) else query


def _ready(store: Store) -> Index:
    """The index, up to date: a file that is damaged is made anew, and memory does where none can be."""
    index = None
    try:
        index = open_index(store)
        refresh(index, store)
        return index
    except _DAMAGE as error:
        if index is not None:
            index.close()
        return _in_place_of(store, error)


def _in_place_of(store: Store, error: Exception) -> Index:
    path = index_path(store)
    # An operational error is a lock or a disk; any other means that the file is not as it was written.
    if path is not None and not isinstance(error, sqlite3.OperationalError):
        with suppress(sqlite3.Error, OSError):
            discard(path)
            index = Index(path)
            refresh(index, store)
            return index
    index = Index(None)
    refresh(index, store)
    return index
