"""One open catalog database: light reads, and writes through the models."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.db.faults import catalog_error, sqlite_faults
from lorakit.db.opening import (
    Target,
    connect,
    is_catalog,
    is_current,
    is_writable,
    leave_wal,
    make_folder,
    stored_revision,
    switch_to_wal,
    warn,
)
from lorakit.errors import CatalogError
from lorakit.mounts import network_kind

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

_ON_NETWORK = (
    "The catalog {} lies on a network folder ({}): use it from one computer at a time, or name a folder "
    "of this one in LORAKIT_HOME. Adapters may lie anywhere."
)
_NO_WAL = "The catalog {} cannot use write-ahead logging ({}); going on."


class Store:
    """An open catalog database, at the newest revision.

    Reading takes SQL text with `:name` parameters, which `sqlite3` and SQLAlchemy both speak: a
    command that only reads an SQLite catalog never imports SQLAlchemy.
    """

    def __init__(self, target: Target) -> None:
        """Open `target`, creating or updating it first where needed. Raises `CatalogError`."""
        self.target = target
        self._engine: Engine | None = None
        self._reader: sqlite3.Connection | None = None
        # Told to whoever writes, once: readers are at no risk.
        self._unsaid = ""
        try:
            if target.path is None:
                self._upgrade()
            else:
                self._open_file()
        except BaseException:
            self.close()
            raise

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
        """The rows of a SELECT, as tuples. Raises `CatalogError`."""
        if self._reader is not None:
            with sqlite_faults(str(self.target)):
                return self._reader.execute(sql, parameters or {}).fetchall()
        from sqlalchemy import text

        with self._faults(), self._engine_in_use().connect() as connection:
            rows: Sequence[Any] = connection.execute(text(sql), dict(parameters or {})).all()
            return [tuple(row) for row in rows]

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one write transaction: all of it is committed, or nothing.

        Raises `CatalogError` when the database cannot be written or stays busy.
        """
        from sqlalchemy.orm import Session

        from lorakit.db.engine import WRITING

        engine = self._engine_in_use().execution_options(**WRITING)
        if self._unsaid:
            warn("%s", self._unsaid)
            self._unsaid = ""
        with self._faults(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @property
    def writable(self) -> bool:
        """Whether the catalog's file and its folder may be written, as far as that can be told."""
        return self.target.path is None or is_writable(self.target.path)

    def close(self) -> None:
        """Let go of the database."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open_file(self) -> None:
        path = self.target.path
        assert path is not None
        make_folder(path.parent)
        if not is_catalog(path):
            self._upgrade()
        self._reader, mode = connect(path)
        with sqlite_faults(str(path)):
            if not is_current(path, stored_revision(self._reader)):
                self._upgrade()
            self._settle(self._reader, path, mode)

    def _settle(self, reader: sqlite3.Connection, path: Path, mode: str | None) -> None:
        """Put the file into the journal mode that serves it where it lies."""
        if self._engine is not None:
            # Its connections are from before the update, and set up for the mode of then.
            self._engine.dispose()
        if mode is None:
            return
        kind = network_kind(path)
        if kind is not None:
            if mode == "wal":
                leave_wal(reader)
            self._unsaid = _ON_NETWORK.format(path, kind)
        elif mode != "wal" and (refused := switch_to_wal(path)):
            self._unsaid = _NO_WAL.format(path, refused)

    def _upgrade(self) -> None:
        from lorakit.db.upgrading import upgrade

        with self._faults():
            upgrade(self._engine_in_use(), self.target.path)

    def _engine_in_use(self) -> Engine:
        if self._engine is None:
            from lorakit.db.engine import make_engine

            with self._faults():
                self._engine = make_engine(self.target.path or self.target.url)
        return self._engine

    @contextmanager
    def _faults(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise catalog_error(str(self.target), error) from error
        except ModuleNotFoundError as error:
            raise CatalogError(
                f"The catalog {self.target} needs a database driver that is not installed: "
                f"{error.name}.",
                hint=f"pip install {error.name}",
            ) from error
