"""The fields that a query may name: what may stand after the colon, and an example of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from lorakit.formats.anima import COMPONENTS, KINDS

# How the value of a field is read.
Shape = Literal["text", "exact", "choice", "hash", "count", "size", "number", "flag", "date"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of queries. `sortable` says whether `sort:` takes it, `choices` what values it has."""

    name: str
    shape: Shape
    example: str
    about: str
    sortable: bool = False
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


FIELDS: tuple[Field, ...] = (
    Field("name", "text", "name:ink*", "The name holds this text.", True),
    Field("title", "text", "title:'old ink'", "The title that is shown holds it.", True),
    Field("tag", "exact", "tag:ink", "It has this tag.", aliases=("tags",)),
    Field("note", "text", "note:hands", "The notes hold it.", aliases=("notes",)),
    Field("trigger", "text", "trigger:sumi", "A trigger word holds it.", aliases=("triggers",)),
    Field("rating", "count", "rating:4..", "The rating, 1 to 5; `rating:..` is any.", True),
    Field(
        "favourite",
        "flag",
        "favourite:yes",
        "It is a favourite.",
        True,
        ("yes", "no"),
        ("favorite",),
    ),
    Field("strength", "number", "strength:0.5..0.8", "The default strength.", True),
    Field("rank", "count", "rank:8..32", "Its smallest to largest rank meet this range.", True),
    Field("algo", "exact", "algo:lokr", "The algorithm most of it uses.", True),
    Field("layout", "exact", "layout:kohya", "How the keys are named.", True),
    Field("dtype", "exact", "dtype:bf16", "The dtype most tensors have.", True),
    Field("block", "count", "block:0..2", "It touches one of these blocks.", aliases=("blocks",)),
    Field("all-blocks", "count", "all-blocks:0..27", "It touches every one of these blocks."),
    Field("only-blocks", "count", "only-blocks:0..9", "It touches some of these and no others."),
    Field(
        "component",
        "choice",
        "component:text_encoder",
        "It touches this part of the model.",
        choices=COMPONENTS,
    ),
    Field(
        "kind",
        "choice",
        "kind:cross_attn",
        "It touches this kind of layer in the blocks.",
        choices=KINDS,
    ),
    Field("base", "text", "base:anima", "The base it says it was trained on holds this.", True),
    Field("size", "size", "size:..50MB", "The size of the file, in bytes, kB, MB or GB.", True),
    Field("modules", "count", "modules:200..", "How many modules it patches.", True),
    Field(
        "license",
        "exact",
        "license:deny",
        "allow, deny or unknown, by the terms on record and the licence in the header; or a licence.",
        choices=("allow", "deny", "unknown"),
        aliases=("licence",),
    ),
    Field("missing", "flag", "missing:no", "No file of it is there.", True, ("yes", "no")),
    Field("added", "date", "added:-30d", "When it was added: 2026-11, 2026-11-01.., today.", True),
    Field("path", "text", "path:/loras/", "A place of its file holds this text."),
    Field("collection", "exact", "collection:best", "It is in this collection."),
    Field(
        "hash",
        "hash",
        "hash:1f3a",
        "The SHA-256 of the file, or of its tensors, begins so.",
        aliases=("sha256",),
    ),
    Field(
        "duplicate",
        "flag",
        "duplicate:yes",
        "Its tensors are in another file too, or its file lies in several places.",
        choices=("yes", "no"),
        aliases=("duplicates",),
    ),
)
SORT = "sort"
BY_NAME: Mapping[str, Field] = MappingProxyType(
    {name: field for field in FIELDS for name in (field.name, *field.aliases)}
)
SORTABLE = tuple(field.name for field in FIELDS if field.sortable)
