"""What is said of an adapter beyond its file: tags, rating, notes, strength and the rest, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.catalog.facts import FactRecord

# In this order on a page; the header's own words are shown above them.
_SHOWN = (
    ("rating", "rating"),
    ("favourite", "favourite"),
    ("strength", "strength"),
    ("trigger_words", "trigger words"),
    ("notes", "notes"),
    ("title", "title"),
    ("author", "author"),
    ("base_model", "base model"),
    ("description", "description"),
    ("page", "page"),
    ("nsfw", "adult"),
)
# What the program keeps for itself.
_HIDDEN = ("asked", "asked_terms")


def yours_of(catalog: Catalog, record: AdapterRecord) -> dict[str, Any]:
    """The tags, collections and facts of an adapter, as `--json` gives them.

    A fact is the word that counts, with its source; `others` are those it goes before.
    """
    from lorakit.catalog.facts import with_header

    content = record.tensor_sha256
    facts = with_header(record, catalog.facts(content))
    return {
        "tags": list(catalog.tags(content)),
        "collections": [one.name for one in catalog.collections() if content in one.contents],
        "facts": {
            field: {**_said(found[0]), "others": [_said(other) for other in found[1:]]}
            for field, found in facts.items()
            if field not in _HIDDEN
        },
    }


def yours_rows(yours: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The rows for a person; what the header alone says is left out, being shown elsewhere."""
    rows: list[tuple[str, str | None]] = [("tags", ", ".join(yours["tags"]))]
    for field, label in _SHOWN:
        fact = yours["facts"].get(field)
        if fact is not None and fact["source"] != "header":
            rows.append((label, _shown(field, fact)))
    return [*rows, ("collections", ", ".join(yours["collections"]))]


def strength_text(value: Mapping[str, float | None]) -> str:
    """`0.8`, or `0.8 (0.6 to 0.9)`."""
    from lorakit.strengths.text import number

    bounds = [bound for bound in (value.get("min"), value.get("max")) if bound is not None]
    middle = value["value"]
    assert middle is not None
    span = f" ({' to '.join(map(number, bounds))})" if bounds else ""
    return f"{number(middle)}{span}"


def _said(fact: FactRecord) -> dict[str, Any]:
    return {"value": fact.value, "source": fact.source, "place": fact.place}


def _shown(field: str, fact: Mapping[str, Any]) -> str:
    value, source = fact["value"], fact["source"]
    if field == "rating":
        text = f"{value} of 5"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif field == "strength":
        text = strength_text(value)
    else:
        text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if source == "user" else f"{text} (from {source})"
