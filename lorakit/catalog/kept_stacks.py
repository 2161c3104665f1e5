"""Stacks kept by name, each as the text of a stack file: with hashes, so that renaming loses nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lorakit.catalog.naming import close_names, listed, normal, storable
from lorakit.db.store import Store
from lorakit.db.times import from_text
from lorakit.errors import BadUsage, CatalogError, NotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lorakit.db.curation import KeptStack

# Such a word stands for nothing but a name where a stack is written.
_NAME = re.compile(r"[^\W\d_][\w.+~-]*")
_FILES = (".toml", ".json", ".txt", ".png", ".jpg", ".jpeg", ".webp", ".safetensors", ".sft")


@dataclass(frozen=True, slots=True)
class KeptStackRecord:
    """A stack kept by name; `document` is the text of a stack file."""

    name: str
    document: str
    notes: str
    made_at: datetime


def is_stack_name(text: str) -> bool:
    """Whether `text` can be the name of a kept stack: one word, and not a file's name."""
    return bool(_NAME.fullmatch(text)) and not text.lower().endswith(_FILES)


def all_kept_stacks(store: Store) -> list[KeptStackRecord]:
    """Every kept stack by name, without regard to case."""
    rows = store.read("SELECT name, document, notes, made_at FROM kept_stack")
    found = [KeptStackRecord(name, text, notes, from_text(at)) for name, text, notes, at in rows]
    return sorted(found, key=lambda one: (one.name.casefold(), one.name))


def find_kept_stack(store: Store, name: str) -> KeptStackRecord | None:
    """The stack kept as `name`, without regard to case; None where there is none."""
    wanted = normal(name).casefold()
    return next((one for one in all_kept_stacks(store) if one.name.casefold() == wanted), None)


def store_kept_stack(
    session: Session, name: str, document: str, notes: str | None, *, replace: bool
) -> str:
    """Keep a stack; its name as it is kept. `notes` None leaves those of a stack that is replaced.

    Raises `BadUsage` for a name that cannot be one, and `CatalogError` for one that is taken, unless
    `replace`.
    """
    from lorakit.db.curation import KeptStack

    name = normal(name)
    if not is_stack_name(name):
        raise BadUsage(
            f"{name!r} cannot be the name of a stack.",
            hint="It is one word of letters, digits and - _ . that begins with a letter, and not a "
            "file's name.",
        )
    document, notes = storable(document), None if notes is None else storable(notes)
    row = _row(session, name)
    if row is None:
        session.add(KeptStack(name=name, document=document, notes=notes or ""))
    elif replace:
        row.document, row.made_at = document, datetime.now(UTC)
        row.notes = row.notes if notes is None else notes
    else:
        raise CatalogError(
            f"There is a stack {row.name!r} already.", hint="--overwrite replaces it."
        )
    session.flush()
    return row.name if row is not None else name


def drop_kept_stack(session: Session, name: str) -> str:
    """Keep a stack no longer; its name. Raises `NotFound` with close names."""
    from sqlalchemy import select

    from lorakit.db.curation import KeptStack

    row = _row(session, normal(name))
    if row is None:
        close = close_names(name, session.scalars(select(KeptStack.name)))
        hint = f"Did you mean {listed(close)}?" if close else "lorakit stack --list shows all."
        raise NotFound(f"No stack is kept as {name!r}.", hint=hint)
    session.delete(row)
    session.flush()
    return row.name


def _row(session: Session, name: str) -> KeptStack | None:
    from sqlalchemy import select

    from lorakit.db.curation import KeptStack

    rows = session.scalars(select(KeptStack))
    return next((row for row in rows if row.name.casefold() == name.casefold()), None)
