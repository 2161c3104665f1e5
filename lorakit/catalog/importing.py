"""What other programs say of adapters, kept as facts and tags under the name of each program.

A program's word replaces its own earlier one where that stood in a file which was read now; a file that
is gone keeps its word. What a person said is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lorakit.catalog.facts import (
    FactRecord,
    FactsByField,
    NewFact,
    chunks,
    content_conditions,
    facts_of,
    store_facts,
)
from lorakit.catalog.fields import SOURCES, check_fact, taken_tag
from lorakit.catalog.pending import is_pending
from lorakit.catalog.tags import normal_tag
from lorakit.db.store import Store
from lorakit.errors import BadUsage
from lorakit.formats.ancestry import INGREDIENTS_KEY, MERGED_FROM_KEY
from lorakit.formats.sidecars.beside import RECORDS
from lorakit.formats.sidecars.modelspec import HEADER, HEADER_KEYS, header_facts
from lorakit.formats.sidecars.said import SidecarFacts

if TYPE_CHECKING:
    from lorakit.catalog.journal import Recording
    from lorakit.formats.sidecars.lora_manager_cache import CachedModel

_CHUNK = 500
_ANCESTRY = (INGREDIENTS_KEY, MERGED_FROM_KEY)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content lies or lay: the adapter file, its adapter and its hash."""

    path: str
    name: str
    content: str
    file_sha256: str


@dataclass(frozen=True, slots=True)
class Import:
    """What is to change: facts to replace (None: to remove), new ones, and tags as (content, tag, source)."""

    facts: tuple[NewFact, ...] = ()
    new_facts: tuple[NewFact, ...] = ()
    new_tags: tuple[tuple[str, str, str], ...] = ()
    old_tags: tuple[tuple[str, str, str], ...] = ()

    @property
    def contents(self) -> frozenset[str]:
        """The contents of which something changes."""
        tagged = {content for content, _, _ in (*self.new_tags, *self.old_tags)}
        return frozenset(tagged | {fact.content for fact in (*self.facts, *self.new_facts)})


def plan_import(
    store: Store, said: Mapping[str, Sequence[SidecarFacts]], *, only_new: bool = False
) -> Import:
    """What has to change so that the catalog holds what was said, by content.

    Where two files say something for the same program, the first counts. With `only_new`, what a program
    said in another file before stands.
    """
    facts = _new_facts(said)
    reread = {(content, one.source, one.place) for content, all_ in said.items() for one in all_}
    changes: list[NewFact] = []
    known = facts_of(store, said)
    for content, by_field in known.items():
        for record in (record for records in by_field.values() for record in records):
            key = (content, record.field, record.source)
            new = facts.get(key)
            if new is not None and (
                (new.value, new.place) == (record.value, record.place)
                or (only_new and new.place != record.place)
                or ((content, record.source, record.place) not in reread and _stands(record, new))
            ):
                del facts[key]
            elif new is None and (content, record.source, record.place) in reread:
                changes.append(NewFact(content, record.field, None, record.source))
    there = {
        (content, record.field, record.source)
        for content, by_field in known.items()
        for records in by_field.values()
        for record in records
    }
    changes += [fact for key, fact in facts.items() if key in there]
    fresh = tuple(fact for key, fact in facts.items() if key not in there)
    return Import(tuple(changes), fresh, *_tag_changes(store, said, known, only_new=only_new))


def apply_import(recording: Recording, change: Import) -> None:
    """Write an import down, in the step in which it was planned: nobody else writes meanwhile."""
    from sqlalchemy import select

    from lorakit.db.curation import Fact, Tag

    session = recording.session
    store_facts(session, change.facts)
    gone = set(change.old_tags)
    for chunk in chunks(content for content, _, _ in change.old_tags):
        for row in session.scalars(select(Tag).where(Tag.content.in_(chunk))):
            if (row.content, row.tag, row.source) in gone:
                session.delete(row)
    # A tag whose case alone changed must go before it comes, which inserting sees to.
    recording.insert(Fact, [asdict(fact) for fact in change.new_facts])
    recording.insert(
        Tag, [{"content": c, "tag": tag, "source": source} for c, tag, source in change.new_tags]
    )


def places_of(store: Store, adapter_ids: Iterable[int]) -> dict[str, list[Place]]:
    """Every place where the contents of these adapters lie or lay, by content, sorted by path."""
    contents: set[str] = set()
    ids = sorted(set(adapter_ids))
    for start in range(0, len(ids), _CHUNK):
        numbers = ", ".join(str(int(one)) for one in ids[start : start + _CHUNK])
        rows = store.read(f"SELECT tensor_sha256 FROM adapter WHERE id IN ({numbers})")
        contents.update(content for (content,) in rows)
    found: dict[str, list[Place]] = {}
    for where, parameters in content_conditions(sorted(contents)):
        column = where.replace("content ", "a.tensor_sha256 ", 1)
        for row in store.read(
            "SELECT l.path, a.name, a.tensor_sha256, a.file_sha256 FROM location AS l "
            f"JOIN adapter AS a ON a.id = l.adapter_id WHERE {column} ORDER BY l.path",
            parameters,
        ):
            found.setdefault(row[2], []).append(Place(*row))
    return found


def headers_say(
    store: Store, contents: Iterable[str], made_from: dict[str, list[dict[str, str]]] | None = None
) -> dict[str, SidecarFacts]:
    """What the headers of contents say beside what is kept with the adapter itself.

    Headers that say what their file was made from are put into `made_from` by content, for those who read
    that: all headers of a large collection are read here once.
    """
    found: dict[str, SidecarFacts] = {}
    for where, parameters in content_conditions(sorted(contents)):
        column = where.replace("content ", "a.tensor_sha256 ", 1)
        for content, header in store.read(
            "SELECT a.tensor_sha256, r.header FROM report AS r "
            f"JOIN adapter AS a ON a.id = r.adapter_id WHERE {column} ORDER BY a.id",
            parameters,
        ):
            # Most headers have none of these keys, and parsing them all would take seconds.
            marked = any(key in header for key in HEADER_KEYS)
            said = header_facts(json.loads(header)) if marked else None
            if made_from is not None and any(key in header for key in _ANCESTRY):
                made_from.setdefault(content, []).append(json.loads(header))
            # One that says nothing any more takes back what it said.
            found[content] = said or found.get(content) or SidecarFacts(HEADER, "", {}, ())
    return found


def _new_facts(
    said: Mapping[str, Sequence[SidecarFacts]],
) -> dict[tuple[str, str, str], NewFact]:
    facts: dict[tuple[str, str, str], NewFact] = {}
    for content, all_ in said.items():
        for one in all_:
            for field, value in one.fields.items():
                key = (content, field, one.source)
                if key not in facts and (kept := _checked(field, value, one.source)) is not None:
                    facts[key] = NewFact(content, field, kept, one.source, one.place)
    return facts


def _stands(record: FactRecord, new: NewFact) -> bool:
    """Whether what a file said that was not read now goes before what another kind of file says."""
    return record.field != "cover" and _kind(record.place) < _kind(new.place)


def _kind(place: str) -> int:
    """The rank of a file among those of its program, by its ending."""
    ranks = (rank for rank, ending in enumerate(RECORDS) if place.lower().endswith(ending))
    return next(ranks, len(RECORDS))


def _checked(field: str, value: object, source: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value as the catalog keeps it; None for one that it does not take."""
    try:
        return check_fact(field, value, source)
    except BadUsage:
        return None


def _tag_changes(
    store: Store,
    said: Mapping[str, Sequence[SidecarFacts]],
    facts: Mapping[str, FactsByField],
    *,
    only_new: bool,
) -> tuple[tuple[tuple[str, str, str], ...], tuple[tuple[str, str, str], ...]]:
    """Tags to add and to remove, for the programs whose tags were read; none that a person took away."""
    wanted: dict[tuple[str, str], dict[str, str]] = {}
    for content, all_ in said.items():
        for one in all_:
            if one.tags is not None and one.source in SOURCES:
                own = wanted.setdefault((content, one.source), {})
                for tag in _normal(one.tags):
                    if taken_tag(tag) not in facts.get(content, {}):
                        own.setdefault(tag.casefold(), tag)
    known: dict[tuple[str, str], dict[str, str]] = {}
    for content, tag, source in _tag_rows(store, {content for content, _ in wanted}):
        known.setdefault((content, source), {})[tag.casefold()] = tag
    new, old = [], []
    for (content, source), tags in wanted.items():
        there = known.get((content, source), {})
        if only_new and there:
            continue
        new += [(content, tag, source) for folded, tag in tags.items() if folded not in there]
        old += [(content, tag, source) for folded, tag in there.items() if folded not in tags]
    return tuple(new), tuple(old)


def _tag_rows(store: Store, contents: Iterable[str]) -> Iterator[Any]:
    for where, parameters in content_conditions(sorted(contents)):
        yield from store.read(f"SELECT content, tag, source FROM tag WHERE {where}", parameters)


def _normal(tags: Iterable[str]) -> Iterator[str]:
    for tag in tags:
        try:
            yield normal_tag(tag)
        except BadUsage:
            continue


@dataclass(frozen=True, slots=True)
class CacheImport:
    """What came of LoRA Manager's cache: its models, how many are in the catalog, of how many it was news."""

    models: int
    known: int
    changed: int


def said_in_cache(
    store: Store, models: Sequence[CachedModel]
) -> tuple[dict[str, list[SidecarFacts]], int]:
    """What a cache says of contents in the catalog, and how many of its models those are.

    A model is known by its hash; by its path only where the cache has no hash, since the file may have
    been replaced since.
    """
    rows = store.read("SELECT file_sha256, tensor_sha256 FROM adapter")
    by_hash = dict(rows)
    rows = store.read(
        "SELECT l.path, a.tensor_sha256 FROM location AS l JOIN adapter AS a ON a.id = l.adapter_id"
    )
    by_path = {path.replace("\\", "/"): one for path, one in rows if not is_pending(one)}
    said: dict[str, list[SidecarFacts]] = {}
    known = 0
    for model in models:
        own = model.file_path.replace("\\", "/")
        content = by_hash.get(model.sha256) if model.sha256 else by_path.get(own)
        if content is not None:
            known += 1
            said.setdefault(content, []).append(model.said)
    return said, known
