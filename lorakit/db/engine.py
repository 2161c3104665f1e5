"""The SQLAlchemy engine: what every connection is told, and how a transaction begins."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Cursor

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from lorakit.db.counting import count_write
from lorakit.db.opening import BUSY_SECONDS

# Read by `_begin`; connections without it begin DEFERRED.
WRITING = {"lorakit_begin": "IMMEDIATE"}
_PRAGMAS = (
    f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
    "foreign_keys = ON",
)


def make_engine(target: str | Path) -> Engine:
    """An engine for the SQLite file at a path, or for any database URL.

    Nothing is connected yet. Raises SQLAlchemy's `ArgumentError` for a URL that is none.
    """
    url = URL.create("sqlite", database=str(target)) if isinstance(target, Path) else target
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "before_cursor_execute", _count)
    return engine


def _prepare(connection: SqliteConnection, _record: object) -> None:
    # sqlite3 would begin transactions by itself, late and always DEFERRED.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    # In WAL mode a power cut may lose the last commit, never the database; in others it may damage that.
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")


def _begin(connection: Connection) -> None:
    """Take the write lock at once where writing is meant.

    A transaction that begins DEFERRED, reads and then writes fails without waiting when another has
    written in between; the busy timeout helps only those that ask for the lock first.
    """
    kind = connection.get_execution_options().get("lorakit_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _count(_connection: Connection, cursor: Cursor, statement: str, *_others: object) -> None:
    count_write(cursor.connection, statement)
