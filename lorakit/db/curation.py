"""The tables of what people say of adapters, and of the journal.

Everything here belongs to a content (the `tensor_sha256` of an adapter), not to a file: it outlasts
renaming, moving, header edits and unplugged drives.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lorakit.db.models import JsonText, Table, now


class Fact(Table):
    """What one source says of one field of a content; `value` is JSON, `place` where it stood.

    Fields are title, notes, rating, favourite, strength, trigger_words, ...; sources are user,
    lorakit, lora-manager, a1111, civitai, ... (`lorakit.catalog.facts` has both, and which goes first).
    """

    __tablename__ = "fact"
    __table_args__ = (UniqueConstraint("content", "field", "source"), {"sqlite_strict": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    field: Mapped[str] = mapped_column(index=True)
    source: Mapped[str]
    value: Mapped[Any] = mapped_column(JsonText)
    place: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class Tag(Table):
    """A tag of a content, by the source that gave it."""

    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("content", "tag", "source"), {"sqlite_strict": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    tag: Mapped[str] = mapped_column(index=True)
    source: Mapped[str]


class Collection(Table):
    """A collection; a smart one has a `query` and no members of its own."""

    __tablename__ = "collection"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    query: Mapped[str | None]
    notes: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(default=now)


class Member(Table):
    """A content in a collection, by the collection's name, so that undoing needs no row numbers."""

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("collection", "content"), {"sqlite_strict": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    collection: Mapped[str]
    content: Mapped[str] = mapped_column(index=True)
    position: Mapped[int]


class KeptStack(Table):
    """A stack kept by name, as the text of a stack file."""

    __tablename__ = "kept_stack"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    document: Mapped[str]
    notes: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(default=now)


class Step(Table):
    """One command that changed the catalog. `undoes` and `undone_by` are other steps."""

    __tablename__ = "step"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    command: Mapped[str]
    undoes: Mapped[int | None]
    undone_by: Mapped[int | None]


class Change(Table):
    """One row before and after a step, None where there was none; columns by name."""

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(primary_key=True)
    step_id: Mapped[int] = mapped_column(ForeignKey("step.id", ondelete="CASCADE"), index=True)
    table_name: Mapped[str]
    row_id: Mapped[int]
    before: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    after: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
