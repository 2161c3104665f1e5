"""Tags: short words on a content, by the source that gave them; what is shown is their union.

Two tags that differ in case alone are one tag: the case that was typed is kept and shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lorakit.catalog.facts import chunks, content_conditions, rank
from lorakit.catalog.fields import SOURCES, TAKEN_TAG, USER, taken_tag
from lorakit.catalog.pending import require_known
from lorakit.db.store import Store
from lorakit.errors import BadUsage
from lorakit.formats.characters import is_one_line

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_LONGEST = 100


def normal_tag(text: str) -> str:
    """`text` as a tag is kept: trimmed, single spaces, in the composed Unicode form (NFC).

    Raises `BadUsage` for one that is empty, too long, or holds a comma or control characters.
    """
    tag = unicodedata.normalize("NFC", " ".join(text.split()))
    if not tag or len(tag) > _LONGEST or "," in tag or not is_one_line(tag):
        raise BadUsage(
            f"{text!r} cannot be a tag.",
            hint=f"A tag is one line of at most {_LONGEST} visible characters without commas.",
        )
    return tag


def tags_of(store: Store, contents: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """The tags of `contents` (None: of all), the person's own first, each once."""
    found = tag_sources_of(store, contents)
    return {content: tuple(tag for tag, _ in tags) for content, tags in found.items()}


def tag_sources_of(
    store: Store, contents: Iterable[str] | None = None
) -> dict[str, tuple[tuple[str, str], ...]]:
    """The same, each with its source, the person where others have it too."""
    rows: list[tuple[str, str, str]] = []
    for where, parameters in content_conditions(contents):
        rows += store.read(f"SELECT content, tag, source FROM tag WHERE {where}", parameters)
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (rank(row[2]), row[1].casefold(), row[1])):
        content, tag, source = row
        found.setdefault(content, {}).setdefault(tag.casefold(), (tag, source))
    return {content: tuple(tags.values()) for content, tags in found.items()}


def store_tags(
    session: Session,
    contents: Sequence[str],
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    source: str = USER,
) -> int:
    """Give tags to contents and take others from them; how many rows changed.

    A person takes a tag away whoever gave it, and for good: what says so again is not asked, until the
    person gives the tag. Another source takes only its own. Raises `BadUsage` for a
    text that cannot be a tag, and for one that is both given and taken; and `CatalogError` for an adapter
    that is pending.
    """
    if source not in SOURCES:
        raise BadUsage(f"{source!r} is no source of tags.")
    given: dict[str, str] = {}
    for tag in map(normal_tag, add):
        given.setdefault(tag.casefold(), tag)
    taken = {normal_tag(text).casefold() for text in remove}
    if both := given.keys() & taken:
        raise BadUsage(f"The tag {given[min(both)]!r} cannot be added and removed at once.")
    require_known(contents)
    known = _known(session, contents)
    changed = 0
    others: set[tuple[str, str]] = set()
    for content in dict.fromkeys(contents):
        rows = known.get(content, [])
        gone = [row for row in rows if row.tag.casefold() in taken and source in (USER, row.source)]
        for row in gone:
            session.delete(row)
        own = {row.tag.casefold() for row in rows if row.source == source}
        new = [tag for folded, tag in given.items() if folded not in own]
        session.add_all(_row(content, tag, source) for tag in new)
        changed += len(gone) + len(new)
        others.update((content, taken_tag(row.tag)) for row in gone if row.source != USER)
    if source == USER:
        _keep_away(session, contents, others, {taken_tag(tag) for tag in given})
    session.flush()
    return changed


def _keep_away(
    session: Session, contents: Iterable[str], fields: set[tuple[str, str]], no_longer: set[str]
) -> None:
    """Note which tags of others a person took, as (content, field), and which are given again."""
    from sqlalchemy import select

    from lorakit.db.curation import Fact

    found = select(Fact).where(
        Fact.source == USER, Fact.field.startswith(TAKEN_TAG, autoescape=True)
    )
    for chunk in chunks(contents):
        for row in session.scalars(found.where(Fact.content.in_(chunk))):
            fields.discard((row.content, row.field))
            if row.field in no_longer:
                session.delete(row)
    session.add_all(
        Fact(content=content, field=field, source=USER, value=True, place="")
        for content, field in sorted(fields)
    )


def _row(content: str, tag: str, source: str) -> Any:  # noqa: ANN401 - a model, imported late
    from lorakit.db.curation import Tag

    return Tag(content=content, tag=tag, source=source)


def _known(session: Session, contents: Iterable[str]) -> dict[str, list[Any]]:
    from sqlalchemy import select

    from lorakit.db.curation import Tag

    found: dict[str, list[Any]] = {}
    for chunk in chunks(contents):
        for row in session.scalars(select(Tag).where(Tag.content.in_(chunk))):
            found.setdefault(row.content, []).append(row)
    return found
