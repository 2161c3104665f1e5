"""Facts: what people and programs say of a content, field by field, each with its source.

Reading is plain SQL, since lists show facts. Writing goes through the models, inside a step of the
journal (`lorakit.catalog.journal.stepping`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from lorakit.catalog.fields import SOURCES, USER, check_fact
from lorakit.catalog.naming import storable
from lorakit.catalog.pending import require_known
from lorakit.db.store import Store
from lorakit.db.times import from_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lorakit.catalog.records import AdapterRecord

# SQLite takes 32,766 parameters in a statement, other databases fewer.
_CHUNK = 500
_RANK = {source: rank for rank, source in enumerate(SOURCES)}


@dataclass(frozen=True, slots=True)
class FactRecord:
    """What one source says of one field of a content; `place` is where it stood, "" for nowhere.

    `recorded_at` is None for what stands in the file's own header.
    """

    content: str
    field: str
    source: str
    value: Any
    place: str
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact to be kept, with the fields of `FactRecord`; the value None takes the source's word back."""

    content: str
    field: str
    value: Any
    source: str = USER
    place: str = ""


FactsByField = dict[str, list[FactRecord]]


def facts_of(
    store: Store, contents: Iterable[str] | None = None, fields: Sequence[str] = ()
) -> dict[str, FactsByField]:
    """The facts of `contents` (None: of all), by content and field, the first of a field being shown.

    `fields` limits them to some. A content without facts is left out.
    """
    found: dict[str, FactsByField] = {}
    for where, parameters in _conditions(contents, fields):
        for row in store.read(
            f"SELECT content, field, source, value, place, recorded_at FROM fact {where}",
            parameters,
        ):
            content, field, source, value, place, at = row
            record = FactRecord(content, field, source, json.loads(value), place, from_text(at))
            found.setdefault(content, {}).setdefault(field, []).append(record)
    for by_field in found.values():
        for records in by_field.values():
            records.sort(key=lambda record: rank(record.source))
    return found


def with_header(record: AdapterRecord, facts: FactsByField) -> FactsByField:
    """`facts` of an adapter, with what its own header says in the last place."""
    said = {
        "title": record.title,
        "trigger_words": list(record.trigger_words) or None,
        "base_model": record.base_model,
    }
    own = {
        field: FactRecord(record.tensor_sha256, field, "header", value, "")
        for field, value in said.items()
        if value
    }
    return {
        field: [*facts.get(field, ()), *([own[field]] if field in own else ())]
        for field in [*facts, *(field for field in own if field not in facts)]
    }


def rank(source: str) -> int:
    """The place of a source among those that are asked first; one that is not known comes last."""
    return _RANK.get(source, len(_RANK))


def store_facts(session: Session, facts: Collection[NewFact]) -> int:
    """Keep facts, in place of what their sources said of the same fields before.

    What is kept already is left as it is. Returns how many rows changed. Raises `BadUsage` for a value
    that cannot stand in its field, before anything is written, and `CatalogError` for an adapter that is
    pending.
    """
    require_known(fact.content for fact in facts)
    from lorakit.db.curation import Fact

    checked = {
        (fact.content, fact.field, fact.source): (
            None if fact.value is None else check_fact(fact.field, fact.value, fact.source),
            storable(fact.place),
        )
        for fact in facts
    }
    known = _known(session, {content for content, _, _ in checked})
    changed = 0
    for key, (value, place) in checked.items():
        row = known.get(key)
        if value is None:
            if row is not None:
                session.delete(row)
                changed += 1
        elif row is None:
            content, field, source = key
            session.add(Fact(content=content, field=field, source=source, value=value, place=place))
            changed += 1
        elif (row.value, row.place) != (value, place):
            row.value, row.place, row.recorded_at = value, place, datetime.now(UTC)
            changed += 1
    session.flush()
    return changed


def _known(session: Session, contents: Iterable[str]) -> dict[tuple[str, str, str], Any]:
    from sqlalchemy import select

    from lorakit.db.curation import Fact

    return {
        (row.content, row.field, row.source): row
        for chunk in chunks(contents)
        for row in session.scalars(select(Fact).where(Fact.content.in_(chunk)))
    }


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """The distinct `values`, as many at once as a statement takes."""
    rest = iter(dict.fromkeys(values))
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def content_conditions(contents: Iterable[str] | None) -> Iterator[tuple[str, dict[str, object]]]:
    """For each chunk of `contents` the condition on the column `content`, and its parameters.

    One condition that is always true for None.
    """
    if contents is None:
        yield "1 = 1", {}
        return
    for chunk in chunks(contents):
        names = ", ".join(f":c{number}" for number in range(len(chunk)))
        yield f"content IN ({names})", {f"c{n}": content for n, content in enumerate(chunk)}


def _conditions(
    contents: Iterable[str] | None, fields: Sequence[str]
) -> Iterator[tuple[str, dict[str, object]]]:
    limit = ", ".join(f":f{number}" for number in range(len(fields)))
    named = {f"f{number}": field for number, field in enumerate(fields)}
    for where, parameters in content_conditions(contents):
        also = f" AND field IN ({limit})" if fields else ""
        yield f"WHERE {where}{also}", {**parameters, **named}
