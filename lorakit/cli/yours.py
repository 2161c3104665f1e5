"""What is said of an adapter beyond its file: tags, rating, notes and the rest, each with its source."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lorakit.catalog.fields import USER, called
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
OTHERS = "From others"
# What the program keeps for itself.
_HIDDEN = ("asked", "asked_terms")


def yours_of(catalog: Catalog, record: AdapterRecord) -> dict[str, Any]:
    """The tags, collections and facts of an adapter, as `--json` gives them.

    A fact is the word that counts, with its source; `others` are those it goes before. `tag_sources` says
    who gave each tag.
    """
    from lorakit.catalog.facts import with_header
    from lorakit.catalog.fields import is_taken_tag

    content = record.tensor_sha256
    facts = with_header(record, catalog.facts(content))
    tags = catalog.tag_sources(content)
    return {
        "tags": [tag for tag, _ in tags],
        "tag_sources": dict(tags),
        "collections": _collections(catalog, record),
        "facts": {
            field: {**_said(found[0]), "others": [_said(other) for other in found[1:]]}
            for field, found in facts.items()
            if field not in _HIDDEN and not is_taken_tag(field)
        },
    }


def known_of(catalog: Catalog, record: AdapterRecord) -> dict[str, Any]:
    """The same, with its strength and its relatives as far as they are known: nothing is measured."""
    from lorakit.cli.strength import evidence_of

    return {
        **yours_of(catalog, record),
        "name": record.name,
        "changed": record.changed,
        "strength": evidence_of(catalog, record).to_dict(),
        "alike": _alike(catalog, record),
    }


def _collections(catalog: Catalog, record: AdapterRecord) -> list[str]:
    """The collections that it is in, by hand or because a query finds it now."""
    from lorakit.cli.collection_members import found_by

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
        (OTHERS, others_rows(yours)),
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
        rows.append(("by weights", f"not compared yet: lorakit similar {shlex.quote(name)}"))
    elif compared < there_are:
        text = f"compared with {compared - 1} of {there_are - 1} others: lorakit similar "
        rows.append(("by weights", text + shlex.quote(name)))
    elif not alike["relatives"]:
        others = f"none of the {compared - 1} others" if compared > 2 else "not the one other"
        rows.append(("by weights", others if compared > 1 else "no other to compare with"))
    return rows


def yours_rows(yours: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """What the person said, for a person."""
    return [*_said_by(yours, own=True), ("collections", ", ".join(yours["collections"]))]


def others_rows(yours: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """What others say where the person says nothing, each named; what the header alone says but for its
    tags is left out, being shown elsewhere."""
    return _said_by(yours, own=False)


def _said_by(yours: Mapping[str, Any], own: bool) -> list[tuple[str, str | None]]:
    def aside(source: str) -> str:
        return "" if own else f" ({called(source)})"

    given: dict[str, list[str]] = {}
    for tag, source in yours["tag_sources"].items():
        if own == (source == USER):
            given.setdefault(source, []).append(tag)
    tags = ", ".join(", ".join(found) + aside(source) for source, found in given.items())
    rows: list[tuple[str, str | None]] = [("tags", tags)]
    for field, label in _SHOWN:
        fact = yours["facts"].get(field)
        if fact is not None and own == (fact["source"] == USER) and fact["source"] != "header":
            rows.append((label, _shown(field, fact["value"]) + aside(fact["source"])))
    return rows


def strength_notes(yours: Mapping[str, Any], name: str) -> list[tuple[str, str | None]]:
    """How strong it is and what suggests itself; how to find out, where it has not been measured."""
    from lorakit.cli.strength import strength_rows

    known = yours["strength"]
    hint = known["base"] is not None and known["size"] is None
    unknown = ("change at 1", f"not measured yet: lorakit strength {shlex.quote(name)}")
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


def _shown(field: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if field == "rating":
        return f"{value} of 5"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field == "strength":
        return strength_text(value)
    if field == "used":
        return _used(value["count"], value["last"])
    return ", ".join(value) if isinstance(value, list) else str(value)


def _used(count: int, last: str | None) -> str:
    times = "once" if count == 1 else f"{count} times"
    return times if last is None else f"{times}, last on {last}"
