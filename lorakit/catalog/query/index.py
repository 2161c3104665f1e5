"""The index that queries are answered from: a database beside the catalog, derived from it alone.

Adapters lie in it in the order of their names, about a thousand on a page (`lorakit.catalog.query.pages`).
What many of them share (algorithm and base; licences; blocks and kinds) is a row of `facet`, `terms` and
`touch`. To delete the file costs the time to make it again, and nothing else.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorakit.catalog.query.patterns import fits
from lorakit.db.store import Store

FILE_NAME = "search.db"
# Another one makes every index anew.
VERSION = 7
_BUSY_SECONDS = 10.0
_MAPPED_BYTES = 1 << 30
_PAGE_BYTES = 1 << 15
# The columns of a page: texts have a line for each adapter, in parts (`patterns`), numbers are packed
# in one (`numbers`).
TEXTS = ("name", "title", "trigger", "note", "tag", "path")
NUMBERS = (
    *("id", "facet", "terms", "touch", "rank_min", "rank_max", "modules", "size", "added"),
    *("rating", "favourite", "strength", "missing", "places"),
)
# Adapters by tag; the words of the two that follow; all that a word without a field is looked for in.
DERIVED = ("tags", "text_words", "path_words", "text")
# Which letters follow each other in those words (`sieves`).
SIGNATURES = ("text_signature", "path_signature")
_SCHEMA = f"""
CREATE TABLE page (
    number INTEGER PRIMARY KEY, first TEXT, first_id INTEGER, count INTEGER,
    numbers BLOB, {", ".join(f"{name} BLOB" for name in SIGNATURES)},
    {", ".join(f"{name} TEXT" for name in (*DERIVED, *TEXTS))}
);
CREATE INDEX page_first ON page (first, first_id, count);
CREATE TABLE facet (
    id INTEGER PRIMARY KEY, algo TEXT, layout TEXT, dtype TEXT, base TEXT, components TEXT,
    UNIQUE (algo, layout, dtype, base, components)
);
CREATE TABLE terms (
    id INTEGER PRIMARY KEY, header TEXT, licenses TEXT, own TEXT, other TEXT,
    UNIQUE (header, licenses, own, other)
);
CREATE TABLE touch (id INTEGER PRIMARY KEY, blocks TEXT, kinds TEXT, UNIQUE (blocks, kinds));
CREATE TABLE collected (collection TEXT, item INTEGER, PRIMARY KEY (collection, item)) WITHOUT ROWID;
CREATE INDEX collected_item ON collected (item);
CREATE TABLE file (
    item INTEGER PRIMARY KEY, stored_name TEXT, name TEXT, file_sha256 TEXT, content TEXT,
    places TEXT
);
CREATE INDEX file_sha ON file (file_sha256);
CREATE INDEX file_content ON file (content);
CREATE TABLE twice (content TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE state (document TEXT);
"""
TABLES = ("page", "facet", "terms", "touch", "collected", "file", "twice", "state")


class Index:
    """An open index. What it holds of the catalog is for `lorakit.catalog.query.refreshing` to say."""

    def __init__(self, path: Path | None) -> None:
        """Open the file at `path`, made anew where it is of another version; None keeps it in memory."""
        self.path = path
        self._connection = _connect(path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """The rows of a SELECT."""
        return self._connection.execute(sql, parameters).fetchall()

    def write(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of `rows`."""
        self._connection.executemany(sql, rows)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One transaction that reads: all of it sees the same."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            # A file that turned out to be damaged may have ended it already.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that writes: all of it, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            # A full disk may have ended it already.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def clear(self) -> None:
        """Empty every table, inside a transaction."""
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table}")

    def state(self) -> dict[str, Any]:
        """What was kept of the catalog's state, {} for an empty index."""
        rows = self.read("SELECT document FROM state")
        return dict(json.loads(rows[0][0])) if rows else {}

    def keep_state(self, state: dict[str, Any]) -> None:
        """Keep the catalog's state, inside a transaction."""
        self._connection.execute("DELETE FROM state")
        self.write("INSERT INTO state VALUES (?)", [(json.dumps(state),)])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _prepare(self) -> None:
        if self._version() == VERSION:
            return
        with self.writing():
            # Another process may have been first.
            if self._version() == VERSION:
                return
            there = self.read(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
            for (name,) in there:
                self._connection.execute(f'DROP TABLE "{name}"')
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _version(self) -> int:
        return int(self.read("PRAGMA user_version")[0][0])


def index_path(store: Store) -> Path | None:
    """Where the index of a catalog lies; None for one that is no file."""
    path = store.target.path
    return None if path is None else path.with_name(FILE_NAME)


def open_index(store: Store) -> Index:
    """The index of a catalog: the file beside it, or one in memory. Raises `sqlite3.Error`."""
    return Index(index_path(store))


def discard(path: Path) -> None:
    """Delete an index with its helper files. Raises `OSError`."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        if path is not None:
            # Columns are long: in pages of the usual size they would lie in dozens of pieces.
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        connection.create_function("fits", 2, fits, deterministic=True)
    except BaseException:
        connection.close()
        raise
    return connection
