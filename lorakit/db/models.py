"""The tables of the catalog.

They are SQLite STRICT tables, so every column type is one of TEXT, INTEGER and BLOB; times are UTC
text of fixed width, which sorts as it reads. What a list shows lies in `adapter`, and what only a
single look needs lies in `report`: a scan over the slim rows then never pages in headers.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine

from lorakit.db.times import from_text, to_text

# Sizes and nanoseconds need 64 bits, which SQLite's INTEGER has and other databases call BIGINT.
_BIG = BigInteger().with_variant(Integer(), "sqlite")
_NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, kept as text such as `2026-01-31T09:30:00.000000Z`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """To text, in UTC."""
        return None if value is None else to_text(value)

    def process_result_value(self, value: object, dialect: Dialect) -> datetime | None:
        """From text."""
        return None if value is None else from_text(str(value))


class JsonText(TypeDecorator[Any]):
    """A JSON value, kept as ASCII text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        """To text."""
        return None if value is None else json.dumps(value, separators=(",", ":"), default=str)

    def process_result_value(self, value: object, dialect: Dialect) -> object:
        """From text."""
        return None if value is None else json.loads(str(value))


class Table(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar[dict[Any, TypeEngine[Any]]] = {
        str: Text(),
        int: Integer(),
        bytes: LargeBinary(),
        datetime: UtcTime(),
    }
    __table_args__: Any = {"sqlite_strict": True}  # noqa: RUF012 (SQLAlchemy's own declaration)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class Adapter(Table):
    """One adapter: one row per content, wherever copies of the file lie.

    `base_model`, `title`, `trigger_words` and `license` are claims of the header. The ranks come
    from shapes and are None for algorithms without one. Until the file was read whole, both hashes are
    the same text that is none (`lorakit.catalog.pending`). `blocks` has a 1 or 0 for each block up to the
    last that is touched, `kinds` the kinds of layers; None in rows that are older than these columns.
    """

    __tablename__ = "adapter"

    id: Mapped[int] = mapped_column(primary_key=True)
    file_sha256: Mapped[str] = mapped_column(unique=True)
    tensor_sha256: Mapped[str] = mapped_column(index=True)
    name: Mapped[str] = mapped_column(unique=True)
    file_size: Mapped[int] = mapped_column(_BIG)
    layout: Mapped[str]
    algo: Mapped[str]
    rank_min: Mapped[int | None]
    rank_max: Mapped[int | None]
    module_count: Mapped[int]
    model_blocks: Mapped[int | None]
    components: Mapped[list[str]] = mapped_column(JsonText)
    base_model: Mapped[str | None]
    dtype: Mapped[str]
    title: Mapped[str | None]
    trigger_words: Mapped[list[str]] = mapped_column(JsonText)
    license: Mapped[str | None]
    added_at: Mapped[datetime] = mapped_column(default=now)
    blocks: Mapped[str | None]
    kinds: Mapped[str | None]

    locations: Mapped[list[Location]] = relationship(back_populates="adapter")
    report: Mapped[Report] = relationship(back_populates="adapter")


class Report(Table):
    """What inspection found in an adapter.

    `document` is the report without modules and metadata; `header` is the file's metadata exactly as
    read; `modules` is packed (`lorakit.catalog.reports`), since a row per module would be millions.
    """

    __tablename__ = "report"

    adapter_id: Mapped[int] = mapped_column(
        ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True
    )
    document: Mapped[dict[str, Any]] = mapped_column(JsonText)
    header: Mapped[dict[str, str]] = mapped_column(JsonText)
    modules: Mapped[bytes]

    adapter: Mapped[Adapter] = relationship(back_populates="report")


class Location(Table):
    """A path where an adapter's file lies, or lay when it was last seen.

    A file with the same size, time and inode is taken for unchanged. `device` is kept for information
    only, because it differs each time a drive is plugged in.
    """

    __tablename__ = "location"
    __table_args__ = (
        CheckConstraint("state IN ('present', 'missing')", name="state"),
        # What tells whether any file has come, gone or moved; paths make the table wide.
        Index("ix_location_seen_at", "seen_at", "state", "adapter_id"),
        {"sqlite_strict": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    adapter_id: Mapped[int] = mapped_column(
        ForeignKey("adapter.id", ondelete="CASCADE"), index=True
    )
    path: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int] = mapped_column(_BIG)
    mtime_ns: Mapped[int] = mapped_column(_BIG)
    inode: Mapped[int] = mapped_column(_BIG)
    device: Mapped[int] = mapped_column(_BIG)
    state: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(default=now)

    adapter: Mapped[Adapter] = relationship(back_populates="locations")


class Base(Table):
    """A base checkpoint that adapters are stacked on.

    `model` is a key of the table of known models, `prefix` what the file puts before its key names,
    `components` where text encoder, VAE and tokenizers come from. `parent` is the content (its
    `tensor_sha256`) of the model that this one was made from. The hashes may come later: a base has
    gigabytes.
    """

    __tablename__ = "base"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    model: Mapped[str]
    path: Mapped[str]
    file_size: Mapped[int] = mapped_column(_BIG)
    mtime_ns: Mapped[int] = mapped_column(_BIG)
    file_sha256: Mapped[str | None]
    prefix: Mapped[str]
    blocks: Mapped[int]
    dtype: Mapped[str]
    components: Mapped[str | None]
    added_at: Mapped[datetime] = mapped_column(default=now)
    tensor_sha256: Mapped[str | None]
    parent: Mapped[str | None]


class Claim(Table):
    """What one source says of the terms of a content (its `tensor_sha256`).

    `origin` is the kind of source (user, table, civitai, modelspec, card, ancestor), `source` where it
    stands, `model` a key of the table of known models where the claim is that the content is that
    model. One source has one claim; what it said last holds.
    """

    __tablename__ = "claim"
    __table_args__ = (UniqueConstraint("content", "origin", "source"), {"sqlite_strict": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    origin: Mapped[str]
    source: Mapped[str]
    model: Mapped[str | None]
    terms: Mapped[dict[str, Any]] = mapped_column(JsonText)
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class Sketch(Table):
    """The weight sketch of a content, as `lorakit.sketches.fingerprint` writes it to a file.

    `model` is a key of the table of known models, `parent` the content it was made from. A
    fingerprint is the sketch of a model whose weights are not here.
    """

    __tablename__ = "sketch"
    __table_args__ = (
        UniqueConstraint("content", "kind"),
        CheckConstraint("kind IN ('base', 'adapter', 'fingerprint')", name="kind"),
        {"sqlite_strict": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    model: Mapped[str | None]
    parent: Mapped[str | None]
    scheme: Mapped[int]
    data: Mapped[bytes]
    made_at: Mapped[datetime] = mapped_column(default=now)


class Audit(Table):
    """A licence decision: what was asked, the verdict, and the ingredients and reasons.

    `hash` is the SHA-256 of `previous` (the hash of the row before), `at`, `action`, `verdict` and
    `subject` as they are stored, one a line. Rows are only ever added.
    """

    __tablename__ = "audit"
    __table_args__: Any = {"sqlite_strict": True, "sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    action: Mapped[str]
    verdict: Mapped[str]
    subject: Mapped[dict[str, Any]] = mapped_column(JsonText)
    previous: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)


class Comparison(Table):
    """Two ways to render, side by side on the same prompts and seeds.

    `sides` are the two as they were (base, stack, hashes), `pairs` the prompt and seed of each pair.
    With `order_seed` it can be told which side was shown as A in which pair.
    """

    __tablename__ = "comparison"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    folder: Mapped[str]
    sides: Mapped[list[dict[str, Any]]] = mapped_column(JsonText)
    pairs: Mapped[list[list[Any]]] = mapped_column(JsonText)
    blind: Mapped[int]
    order_seed: Mapped[int] = mapped_column(_BIG)
    made_at: Mapped[datetime] = mapped_column(default=now)


class Vote(Table):
    """Which side of a pair was found better; pairs are counted from 1, and voted on once."""

    __tablename__ = "vote"
    __table_args__ = (
        CheckConstraint("choice IN ('first', 'second', 'same')", name="choice"),
        UniqueConstraint("comparison_id", "pair"),
        {"sqlite_strict": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparison.id", ondelete="CASCADE"))
    pair: Mapped[int]
    choice: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now)
