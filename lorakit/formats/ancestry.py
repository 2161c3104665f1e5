"""What a file says it was made from: `lorakit.ingredients` and `modelspec.merged_from` of its header.

The first is lorakit's own record, with hashes and terms; the second, from ModelSpec, is free text that
other programs write as well. Both are claims of the file's writer. What cannot be read becomes an
ancestor of which nothing is known, never an error and never nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any, Literal

INGREDIENTS_KEY = "lorakit.ingredients"
MERGED_FROM_KEY = "modelspec.merged_from"
AUDIT_KEY = "lorakit.audit"
MADE_KEY = "lorakit.made"
FORMAT = "lorakit/ingredients/1"

Role = Literal["base", "adapter"]

# Far beyond what anybody stacks; a header that holds more is broken or made to hurt.
_MAX_DEPTH = 12
_MAX_ANCESTORS = 4096
_MAX_TEXT = 20_000
# A longer record of an ancestor's making is not carried on: it stands in the ancestor's own header.
_MAX_MADE = 2_000
_SHARING = ("allow", "allow_with_obligations", "unknown", "deny")
_LISTS = ("obligations", "picture_obligations")
_HEX = re.compile(r"[0-9a-f]{64}")
# A file that has lost its record, and one that says something unreadable, are not the same.
_UNREADABLE = f"an ingredient that {INGREDIENTS_KEY} does not name readably"


@dataclass(frozen=True)
class RecordedTerms:
    """The terms of an ingredient as they were when the file was made.

    The fields are those of `lorakit.licenses.terms.Terms`, in JSON's types: `read_on` is an ISO date,
    the two `share_` fields are answers such as "allow" and "deny".
    """

    title: str = "terms not recorded"
    share_merges: str = "unknown"
    statement: str = "The file does not record the terms of this ingredient."
    source: str = "none"
    read_on: str | None = None
    credit: bool = False
    license: str | None = None
    obligations: tuple[str, ...] = ()
    share_pictures: str | None = None
    pictures_statement: str = ""
    picture_obligations: tuple[str, ...] = ()
    use: str = ""


_TEXTS = [f.name for f in fields(RecordedTerms) if f.name not in ("credit", *_LISTS)]


@dataclass(frozen=True)
class Ancestor:
    """One thing whose weights, or whose change of weights, went into a file.

    `content` is its `tensor_sha256`, `model` a key of the table of known models, `strength` the text
    form of the strength it went in at, `relation` how it is known to be in the one above, where it is no
    ingredient that somebody named. `made` is the record of its making, a JSON object as text.
    """

    name: str
    role: Role = "adapter"
    content: str | None = None
    file_sha256: str | None = None
    model: str | None = None
    strength: str | None = None
    relation: str | None = None
    terms: RecordedTerms = RecordedTerms()
    ancestors: tuple[Ancestor, ...] = ()
    made: str | None = None

    def everyone(self) -> Iterator[Ancestor]:
        """This one and all its own ancestors."""
        yield self
        for ancestor in self.ancestors:
            yield from ancestor.everyone()


def encode_ancestry(
    ancestors: Sequence[Ancestor], kind: str, *, merged: bool = True
) -> dict[str, str]:
    """The metadata that records `ancestors` for a file of `kind`; `read_ancestry` reads it back.

    `merged` tells that the file was merged from them, and is not one of them in another form.
    """
    document = {"format": FORMAT, "kind": kind, "ingredients": [_plain(a) for a in ancestors]}
    recorded = {INGREDIENTS_KEY: json.dumps(document, separators=(",", ":"))}
    names = ", ".join(ancestor.name for ancestor in ancestors)
    return {**recorded, MERGED_FROM_KEY: names} if merged else recorded


def read_ancestry(metadata: Mapping[str, str]) -> tuple[Ancestor, ...]:
    """The direct ingredients that a header names, each with its own below it.

    A name in `modelspec.merged_from` that lorakit's own record does not have is an ancestor of which
    nothing but the name is known.
    """
    recorded = _recorded(metadata.get(INGREDIENTS_KEY))
    return (*recorded, *(Ancestor(name) for name in _others(metadata, recorded)))


def made_text(metadata: Mapping[str, str]) -> str | None:
    """What a header says of how its file was made, to be carried on; None for nothing, or too much."""
    text = metadata.get(MADE_KEY)
    try:
        return _made(json.loads(text)) if text and len(text) <= _MAX_MADE else None
    except (ValueError, RecursionError):
        return None


def _made(value: object) -> str | None:
    """A record of a making as compact text."""
    if not isinstance(value, dict) or not value:
        return None
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= _MAX_MADE else None


def _plain(ancestor: Ancestor) -> dict[str, Any]:
    """As JSON, without what is empty."""
    found = {key: value for key, value in asdict(ancestor).items() if value not in (None, ())}
    found["terms"] = {
        k: v for k, v in asdict(ancestor.terms).items() if v not in (None, (), False, "")
    }
    if ancestor.made is not None:
        found["made"] = json.loads(ancestor.made)
    if ancestor.ancestors:
        found["ancestors"] = [_plain(one) for one in ancestor.ancestors]
    return found


def _recorded(text: str | None) -> tuple[Ancestor, ...]:
    if not text:
        return ()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return (Ancestor(_UNREADABLE),)
    # Before the record had a version it was the bare list.
    entries = document.get("ingredients") if isinstance(document, dict) else document
    budget = [_MAX_ANCESTORS]
    return _ancestors(entries, 0, budget)


def _ancestors(entries: object, depth: int, budget: list[int]) -> tuple[Ancestor, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list) or depth > _MAX_DEPTH:
        return (Ancestor(_UNREADABLE),)
    found = []
    for entry in entries:
        budget[0] -= 1
        if budget[0] < 0 or not isinstance(entry, dict):
            found.append(Ancestor(_UNREADABLE))
            break
        found.append(_ancestor(entry, depth, budget))
    return tuple(found)


def _ancestor(entry: dict[str, Any], depth: int, budget: list[int]) -> Ancestor:
    return Ancestor(
        name=_text(entry.get("name")) or "an ingredient without a name",
        role="base" if entry.get("role") == "base" else "adapter",
        content=_hash(entry.get("content")),
        file_sha256=_hash(entry.get("file_sha256", entry.get("sha256"))),
        model=_text(entry.get("model")),
        strength=_text(entry.get("strength")),
        relation=_text(entry.get("relation")),
        terms=_terms(entry.get("terms", entry)),
        ancestors=_ancestors(entry.get("ancestors"), depth + 1, budget),
        made=_made(entry.get("made")),
    )


def _terms(entry: object) -> RecordedTerms:
    if not isinstance(entry, dict) or entry.get("share_merges") not in _SHARING:
        return RecordedTerms()
    texts = {
        name: found
        for name in _TEXTS
        if (found := _text(entry.get(name))) is not None
        and (name != "read_on" or _is_date(found))
        and (name != "share_pictures" or found in _SHARING)
    }
    return RecordedTerms(
        credit=entry.get("credit") is True,
        obligations=_texts(entry.get("obligations")),
        picture_obligations=_texts(entry.get("picture_obligations")),
        **texts,
    )


def _texts(value: object) -> tuple[str, ...]:
    found = [_text(one) for one in value] if isinstance(value, list) else []
    return tuple(text for text in found if text)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(value: object) -> str | None:
    """`value` where it is a text of bearable length that every terminal and database takes."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode().strip()


def _hash(value: object) -> str | None:
    text = value.strip().lower() if isinstance(value, str) else ""
    return text if _HEX.fullmatch(text) else None


def _others(metadata: Mapping[str, str], recorded: Sequence[Ancestor]) -> list[str]:
    """The names in `modelspec.merged_from` beyond the recorded ones."""
    text = (metadata.get(MERGED_FROM_KEY) or "").strip()
    if not text or text == "None" or text == ", ".join(ancestor.name for ancestor in recorded):
        return []
    names = {one.name for ancestor in recorded for one in ancestor.everyone()}
    found = (_text(part) for part in text.split(",")[:_MAX_ANCESTORS])
    return [name for name in dict.fromkeys(found) if name and name not in names]
