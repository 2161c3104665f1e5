"""What is worked out from files and could be worked out again, kept in a database of its own.

It lies beside the catalog as `derived.db`. To delete it costs time and nothing else, so a fault in it is
no error: what cannot be kept is worked out anew.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.home import home_folder
from lorakit.catalog.pending import is_pending

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog
    from lorakit.db.store import Store

FILE_NAME = "derived.db"
_BUSY_SECONDS = 10.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS derived ("
    "kind TEXT NOT NULL, content TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, content)"
    ") STRICT, WITHOUT ROWID"
)


def derived_file(catalog: Catalog) -> Path:
    """Where what is derived from the adapters of `catalog` is kept."""
    return _file_of(catalog._store)


def _file_of(store: Store) -> Path:
    path = store.target.path
    return home_folder() / FILE_NAME if path is None else path.with_name(FILE_NAME)


def derived(catalog: Catalog, kind: str) -> dict[str, bytes]:
    """Everything of one kind, by content; `kind` names what it is and the version of its layout."""
    return derived_in(catalog._store, kind)


def derived_in(store: Store, kind: str) -> dict[str, bytes]:
    """As `derived`, for what has no catalog but its store."""
    path = _file_of(store)
    if not path.exists():
        return {}
    try:
        with closing(_connect(path)) as connection:
            return dict(
                connection.execute("SELECT content, data FROM derived WHERE kind = ?", (kind,))
            )
    except sqlite3.Error as error:
        _complain(path, error)
        return {}


def derived_of(catalog: Catalog, kind: str, content: str) -> bytes | None:
    """What was derived of one content; None where nothing is kept."""
    path = derived_file(catalog)
    if not path.exists():
        return None
    try:
        with closing(_connect(path)) as connection:
            row = connection.execute(
                "SELECT data FROM derived WHERE kind = ? AND content = ?", (kind, content)
            ).fetchone()
    except sqlite3.Error as error:
        _complain(path, error)
        return None
    return None if row is None else row[0]


def keep_derived(catalog: Catalog, kind: str, found: Mapping[str, bytes]) -> None:
    """Keep what was derived of contents, in place of what was kept before.

    Nothing is kept beside a catalog that cannot be written: whoever opened it knows.
    """
    keep_in(catalog._store, kind, found)


def keep_in(store: Store, kind: str, found: Mapping[str, bytes]) -> None:
    """As `keep_derived`, for what has no catalog but its store."""
    path = _file_of(store)
    found = {content: data for content, data in found.items() if not is_pending(content)}
    if not found or not store.writable:
        return
    try:
        with closing(_connect(path)) as connection, connection:
            connection.execute(_TABLE)
            connection.executemany(
                "INSERT OR REPLACE INTO derived (kind, content, data) VALUES (?, ?, ?)",
                [(kind, content, data) for content, data in found.items()],
            )
    except sqlite3.Error as error:
        _complain(path, error)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _complain(path: Path, error: sqlite3.Error) -> None:
    if "no such table" not in str(error):
        logging.getLogger(__name__).warning(
            "%s cannot be used (%s), so some things are worked out again each time; deleting it is safe.",
            path,
            error,
        )
