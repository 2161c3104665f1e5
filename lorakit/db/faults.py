"""What went wrong in a database, told as a `CatalogError`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from lorakit.errors import CatalogError, UnwritableCatalog

_BACKUPS = "Copies made before updates lie beside it, named .bak-*; any of them opens in its place."
# Words in SQLite's messages, what they mean for the person, and the next step.
_MEANINGS = (
    ("locked", "is in use by another program", "Try again when that program has finished."),
    ("readonly", "cannot be written", "Check the permissions of the file and of its folder."),
    ("unable to open", "cannot be opened", "Check the permissions of the file and of its folder."),
    ("full", "cannot grow because the disk is full", "Free some space and try again."),
    (
        "disk I/O error",
        "cannot be read or written where it lies",
        "Is its drive attached, or its server there? What was saved before is kept.",
    ),
    ("malformed", "is damaged", _BACKUPS),
    ("not a database", "is damaged or no database", _BACKUPS),
)


def catalog_error(where: str, error: Exception) -> CatalogError:
    """The `CatalogError` for a fault of the catalog `where`."""
    # SQLAlchemy wraps the driver's error and adds the statement, which is no help to a person.
    original = getattr(error, "orig", None) or error
    text = str(original)
    for word, meaning, hint in _MEANINGS:
        if word in text:
            kind = UnwritableCatalog if word == "readonly" else CatalogError
            return kind(f"The catalog {where} {meaning} ({text}).", hint=hint)
    return CatalogError(f"The catalog {where} failed: {text}.")


@contextmanager
def sqlite_faults(where: str) -> Iterator[None]:
    """Turn errors of the `sqlite3` module and of the file system into `CatalogError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise catalog_error(where, error) from error
