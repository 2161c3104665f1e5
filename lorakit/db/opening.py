"""Open a catalog file with the standard library alone: what is it, and is it up to date?

SQLAlchemy costs a quarter of a second to import, so a command that only reads must not need it. Nothing
here opens the file but SQLite itself: where locks are POSIX's, a file that is closed takes along the locks
that this process holds on it by other connections, and another process would then take the log away
under them (https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from errno import EHOSTDOWN, EHOSTUNREACH, EIO, ENODEV, ENOTCONN, ESTALE, ETIMEDOUT
from pathlib import Path

from lorakit.db.faults import sqlite_faults
from lorakit.db.revisions import HEAD, REVISIONS
from lorakit.errors import CatalogError

# "LoRA" in ASCII; `file` and other tools can tell a catalog by it.
APPLICATION_ID = 0x4C6F5241
BUSY_SECONDS = 5.0
_ATTACH = "Is its drive attached, or its server there? Nothing was changed."
# What a file system says of a drive or a server that went away.
_AWAY = (EIO, ENODEV, ENOTCONN, ESTALE, ETIMEDOUT, EHOSTDOWN, EHOSTUNREACH)
_READ_ONLY = "The catalog %s cannot be written; it is read as it stands."


@dataclass(frozen=True)
class Target:
    """Where a catalog is: a database URL, and the file behind it where it is an SQLite file."""

    url: str
    path: Path | None

    def __str__(self) -> str:
        # A URL may hold a password.
        return str(self.path or self.url.split("@")[-1])


def parse_target(url: str | Path) -> Target:
    """Read a path or a database URL; every `sqlite:///FILE` without options counts as a path."""
    if isinstance(url, Path) or "://" not in url:
        path = Path(url).absolute()
        return Target(f"sqlite:///{path}", path)
    file = url.removeprefix("sqlite:///")
    if file == url or not file or file == ":memory:" or "?" in file:
        return Target(url, None)
    return Target(url, Path(file).absolute())


def is_catalog(path: Path) -> bool:
    """True for a catalog, False where there is nothing yet.

    A refused file is never touched. Raises `CatalogError` for a file that is no database, is another
    program's, or cannot be read.
    """
    if not _has_bytes(path):
        return False
    if path.with_name(f"{path.name}-journal").exists():
        # Somebody is creating it, or was killed at it: what counts is known after recovery.
        return True
    try:
        with closing(_connect(f"{path.as_uri()}?mode=ro&immutable=1")) as connection:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise CatalogError(
                f"{path} is not a database.",
                hint="Name another file, or move this one away to start a new catalog.",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise CatalogError(f"The catalog {path} cannot be read: {error}.") from error
        # Damaged, or being written at this moment: what is done with it next will tell.
        return True
    _check_application(path, found)
    return True


def is_writable(path: Path) -> bool:
    """Whether a catalog's file and its folder may be written: SQLite keeps its log beside the file."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def make_folder(folder: Path) -> None:
    """Make the folder of a catalog, where it is not there. Raises `CatalogError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _AWAY:
            raise CatalogError(
                f"The folder {folder} of the catalog cannot be reached: {error.strerror}.",
                hint=_ATTACH,
            ) from error
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in the way" if in_the_way else error.strerror or str(error)
        raise CatalogError(
            f"The folder {folder} for the catalog cannot be made: {reason}.",
            hint="LORAKIT_HOME names the folder in which lorakit keeps its data; name one that can be made.",
        ) from error


def connect(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """A connection for reading the catalog at `path`, and its journal mode, None where that is to stay.

    It cannot write. A catalog that cannot be written is read all the same, as it is. Raises `CatalogError`.
    """
    with sqlite_faults(str(path)):
        connection = _connect(f"{path.as_uri()}?mode=rw")
        try:
            connection.execute("PRAGMA query_only = ON")
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                raise
            return _connect_frozen(path), None
        except BaseException:
            connection.close()
            raise
    try:
        _check_application(path, found)
    except CatalogError:
        connection.close()
        raise
    if not os.access(path, os.W_OK):
        # The folder can be written, so others may be writing the catalog: its log has to be asked too.
        _warn_read_only(path)
        return connection, None
    return connection, str(mode)


def stored_revision(connection: sqlite3.Connection) -> str | None:
    """The schema revision that the database says it has."""
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'")
    if tables.fetchone() is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def is_current(where: object, revision: str | None) -> bool:
    """Whether `revision` is this program's. Raises `CatalogError` for one it does not know."""
    if revision is not None and revision not in REVISIONS:
        raise CatalogError(
            f"The catalog {where} was written by a newer lorakit (revision {revision}; "
            f"this one knows up to {HEAD}).",
            hint="Update lorakit: pip install --upgrade lorakit",
        )
    return revision == HEAD


def leave_wal(connection: sqlite3.Connection) -> None:
    """Put the file out of WAL mode, unless somebody else has it open; then the next one does.

    A write-ahead log is shared by memory, which computers of a network have not in common: with two of
    them at it, the database would be damaged without a word (https://sqlite.org/wal.html).
    """
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")


def switch_to_wal(path: Path) -> str:
    """Put the file into WAL mode, which lasts; "" or, where that is refused, the reason.

    Some file systems cannot share the memory that WAL needs.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    mode = "locked"
    connection = _connect(f"{path.as_uri()}?mode=rw")
    try:
        while mode == "locked" and time.monotonic() < deadline:
            # SQLite does not wait for the lock of this one statement, whatever the timeout.
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                mode = "locked" if "locked" in str(error) else str(error)
                time.sleep(0.01)
    finally:
        connection.close()
    return "" if mode == "wal" else mode


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        hint = _ATTACH if error.errno in _AWAY else None
        raise CatalogError(
            f"The catalog {path} cannot be read: {error.strerror}.", hint=hint
        ) from error


def _check_application(path: Path, found: int) -> None:
    if found != APPLICATION_ID:
        raise CatalogError(
            f"{path} is a database of another program, not a lorakit catalog.",
            hint="Name another file; lorakit leaves this one as it is.",
        )


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _connect_frozen(path: Path) -> sqlite3.Connection:
    """Read a WAL database where its helper files cannot be made."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise CatalogError(
            f"The catalog {path} has unfinished changes beside it, and its folder cannot be written.",
            hint="Open it once where it can be written.",
        )
    connection = _connect(f"{path.as_uri()}?mode=ro&immutable=1")
    _warn_read_only(path)
    return connection


def _warn_read_only(path: Path) -> None:
    import logging

    # Marked, since whoever goes on to write hears of it by an error too.
    logging.getLogger("lorakit").warning(_READ_ONLY, path, extra={"read_only": True})


def warn(message: str, *values: object) -> None:
    """Something to know, told to the logger of the package."""
    # Seldom needed, and not free to import.
    import logging

    logging.getLogger("lorakit").warning(message, *values)
