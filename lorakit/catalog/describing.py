"""What a row of the journal is about, in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lorakit.catalog.fields import USER, called, is_taken_tag
from lorakit.catalog.journal import Row
from lorakit.db.curation import Collection, Fact, KeptStack, Member, Tag
from lorakit.db.models import Adapter, Claim, Location, Report, Table

# Of what no person sets, in words.
_FIELDS = {
    "asked": "when a server was asked about",
    "asked_terms": "when a server was asked about the terms of",
}
_STRENGTH = ("min", "value", "max")


class Namer:
    """What adapters are called, read when it is first asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_content(self, content: str) -> str:
        """An adapter that has this content, or the beginning of its hash."""
        return self._names[0].get(content) or content[:12]

    def by_row(self, number: int) -> str:
        """The adapter in a row."""
        return self._names[1].get(number, "an adapter")

    @cached_property
    def _names(self) -> tuple[dict[str, str], dict[int, str]]:
        wanted = select(Adapter.tensor_sha256, Adapter.id, Adapter.name).order_by(Adapter.id.desc())
        rows = self._session.execute(wanted).all()
        return {c: name for c, _, name in rows}, {number: name for _, number, name in rows}


def describe(model: type[Table], row: Row, names: Namer) -> str:
    """What `row` of `model` is about, such as `the rating of ink`."""
    if model is Collection:
        return f"the collection {row['name']!r}"
    if model is KeptStack:
        return f"the stack {row['name']!r}"
    if model is Location:
        return f"the file {row['path']}"
    if model is Adapter:
        return f"the adapter {row['name']}"
    if model is Report:
        return f"the report on {names.by_row(row['adapter_id'])}"
    name = names.by_content(row["content"])
    if model is Tag:
        return f"the tag {row['tag']!r} of {name}{_by(row)}"
    if model is Fact:
        said = _FIELDS.get(row["field"], f"the {row['field'].replace('_', ' ')} of")
        return f"{said} {name}{_by(row)}"
    if model is Member:
        return f"{name} in the collection {row['collection']!r}"
    if model is Claim:
        return f"what was said of the terms of {name}"
    return f"a row of {model.__tablename__}"


def _by(row: Row) -> str:
    """Whose word it is, where it is not the person's."""
    return (
        ""
        if row["source"] == USER or row.get("field") in _FIELDS
        else f" ({called(row['source'])})"
    )


def change_line(
    model: type[Table],
    before: Row | None,
    after: Row | None,
    names: Namer,
    fresh: str = "new",
) -> str | None:
    """What a change from `before` to `after` does, such as `the rating of ink: 3, was 4`.

    `fresh` is said of a row that comes, where there is nothing else to say. None for rows that only go
    along with others: with their adapter's, or with that of a tag.
    """
    row = after or before
    if row is None or model in (Report, Location):
        return None
    if model is Fact and is_taken_tag(row["field"]):
        return None
    what = describe(model, row, names)
    then, now = (_value(model, one) if one else "" for one in (before, after))
    if model is Adapter and before is not None and after is not None:
        return f"the adapter {before['name']}: called {after['name']}"
    if before is None:
        return f"{what}: {now or fresh}"
    was = f", was {then}" if then and then != now else ""
    return f"{what}: {'removed' if after is None else now or 'changed'}{was}"


def _value(model: type[Table], row: Row) -> str:
    """The part of a row that a person may have changed, in few words."""
    if model is Fact and row["field"] in _FIELDS:
        return str(row["value"])[:16].replace("T", " ")
    if model is Fact:
        return _short(row["value"])
    if model is Collection:
        return _short(row["query"] or row["notes"])
    if model is KeptStack:
        return _short(row["notes"])
    if model is Claim:
        return _short(row["terms"].get("share_merges"))
    return ""


def _short(value: Any, most: int = 60) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _count(value) if "count" in value else _strength(value)
    if not isinstance(value, str | list):
        return "" if value is None else str(value)
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    text = " ".join(text.split())
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    # In quotation marks, so that it is told from the words round it.
    return f'"{text}"' if text else ""


def _strength(value: Mapping[str, float | None]) -> str:
    low, middle, high = ("" if (n := value.get(k)) is None else f"{n:g}" for k in _STRENGTH)
    return f"{middle} ({low}..{high})" if low or high else middle


def _count(value: Mapping[str, Any]) -> str:
    return "once" if value["count"] == 1 else f"{value['count']} times"
