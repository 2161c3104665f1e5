"""What is said of an adapter beyond its file: tags, rating, notes and the rest, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.catalog.collections import CollectionRecord
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
    ("used", "used"),
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
        "collections": _collections(catalog, record),
        "facts": {
            field: {**_said(found[0]), "others": [_said(other) for other in found[1:]]}
            for field, found in facts.items()
            if field not in _HIDDEN
        },
    }


def known_of(catalog: Catalog, record: AdapterRecord) -> dict[str, Any]:
    """The same, with its strength and its relatives as far as they are known: nothing is measured."""
    from lorakit.cli.strength import evidence_of

    return {
        **yours_of(catalog, record),
        "name": record.name,
        "strength": evidence_of(catalog, record).to_dict(),
        "alike": _alike(catalog, record),
    }


def _collections(catalog: Catalog, record: AdapterRecord) -> list[str]:
    """The collections that it is in, by hand or because a query finds it now."""
    from lorakit.cli.collection import found_by

    def holds(one: CollectionRecord) -> bool:
        if one.query is None:
            return record.tensor_sha256 in one.contents
        try:
            return any(found.id == record.id for found in found_by(catalog, one.query))
        except BadUsage:
            # A query that an earlier version understood.
            return False

    return [one.name for one in catalog.collections() if holds(one)]


def _alike(catalog: Catalog, record: AdapterRecord) -> dict[str, Any]:
    """The others with the same tensors, and those found alike when it was last compared."""
    from lorakit.catalog.relatives import contents_count, kept_relatives

    content = record.tensor_sha256
    same = [name for name, _ in catalog.headers(content) if name != record.name]
    found = kept_relatives(catalog, content)
    near = [] if found is None else found.near
    names = {one.content: next(iter(catalog.headers(one.content)), None) for one in near}
    return {
        "same_tensors": same,
        "compared": None if found is None else found.compared,
        "there_are": contents_count(catalog),
        "relatives": [
            {"name": named[0], "kind": one.kind, "words": one.words, "cosine": one.cosine}
            for one in near
            if (named := names[one.content]) is not None
        ],
    }


def sections(yours: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Everything for a person, under headings; a heading without rows is left out."""
    name = yours["name"]
    found = (
        ("Yours", yours_rows(yours)),
        ("Strength", strength_notes(yours, name)),
        ("Alike", alike_rows(yours, name)),
    )
    shown = ((heading, [row for row in rows if row[1]]) for heading, rows in found)
    return [(heading, rows) for heading, rows in shown if rows]


def alike_rows(yours: Mapping[str, Any], name: str) -> list[tuple[str, str | None]]:
    """Copies and relatives; how to find them, where nothing was compared yet."""
    alike = yours["alike"]
    rows: list[tuple[str, str | None]] = [
        ("same tensors", ", ".join(alike["same_tensors"])),
        *(
            (one["name"], f"{one['words']} (cosine {one['cosine']:.4f})")
            for one in alike["relatives"]
        ),
    ]
    compared, there_are = alike["compared"], alike["there_are"]
    if compared is None:
        rows.append(("by weights", f"not compared yet: lorakit similar {name}"))
    elif compared < there_are:
        text = f"of {there_are} adapters, {compared} were compared: lorakit similar {name}"
        rows.append(("by weights", text))
    elif not alike["relatives"]:
        rows.append(("by weights", f"none of {compared}"))
    return rows


def yours_rows(yours: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The rows for a person; what the header alone says is left out, being shown elsewhere."""
    rows: list[tuple[str, str | None]] = [("tags", ", ".join(yours["tags"]))]
    for field, label in _SHOWN:
        fact = yours["facts"].get(field)
        if fact is not None and fact["source"] != "header":
            rows.append((label, _shown(field, fact)))
    return [*rows, ("collections", ", ".join(yours["collections"]))]


def strength_notes(yours: Mapping[str, Any], name: str) -> list[tuple[str, str | None]]:
    """How strong it is and what suggests itself; how to find out, where it has not been measured."""
    from lorakit.cli.strength import strength_rows

    known = yours["strength"]
    hint = known["base"] is not None and known["size"] is None
    unknown = ("change", f"not measured yet: lorakit strength {name}") if hint else ("change", None)
    rows = strength_rows(known)
    return [*([unknown] if hint else []), *(row for row in rows if row[1])]


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
    elif field == "used":
        text = f"{value['count']} times" + (f", last on {value['last']}" if value["last"] else "")
    else:
        text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if source == "user" else f"{text} (from {source})"
