"""Bases: registering one, and finding it by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lorakit.catalog.base_files import find_stamp
from lorakit.db.models import Base
from lorakit.errors import CatalogError


def store_base(session: Session, name: str, path: str, fields: dict[str, Any]) -> None:
    """Insert the base, or update the one of that name where it is the same model, perhaps moved.

    Hashes that are known are kept as long as its files are unchanged. Raises `NotFound` and `BadFile` for
    missing ones and `CatalogError` when the name belongs to another model.
    """
    stamp = find_stamp(Path(path))
    base = session.scalar(select(Base).where(Base.name == name))
    if base is None:
        base = Base(name=name, path=path, added_at=datetime.now(UTC))
        session.add(base)
    elif base.path != path and not _is_same(base, fields):
        raise CatalogError(
            f"The base {name!r} is another model already: {base.path}.",
            hint="Give this one another name: lorakit base add FILE --name NAME",
        )
    elif (base.file_size, base.mtime_ns) == (stamp.size, stamp.mtime_ns):
        for known in ("file_sha256", "tensor_sha256"):
            fields = {**fields, known: fields[known] or getattr(base, known)}
    base.path = path
    for column, value in fields.items():
        setattr(base, column, value)
    base.file_size, base.mtime_ns = stamp.size, stamp.mtime_ns


def _is_same(base: Base, fields: dict[str, Any]) -> bool:
    """Whether a file at another path has the content that the base was registered with."""
    return base.file_sha256 is not None and base.file_sha256 == fields["file_sha256"]
