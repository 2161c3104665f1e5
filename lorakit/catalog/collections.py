"""Collections: contents that a person has put together in an order, or a query that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lorakit.catalog.naming import check_name, listed, normal, refuse_beginning, storable
from lorakit.catalog.pending import require_known
from lorakit.db.store import Store
from lorakit.db.times import from_text
from lorakit.errors import Ambiguous, BadUsage, CatalogError, NotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lorakit.db.curation import Collection, Member


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A collection; `contents` are its members in order. A smart one has a `query`, and no members."""

    name: str
    query: str | None
    notes: str
    made_at: datetime
    contents: tuple[str, ...] = ()


def all_collections(store: Store) -> list[CollectionRecord]:
    """Every collection by name, without regard to case."""
    members: dict[str, list[str]] = {}
    for name, content in store.read(
        "SELECT collection, content FROM member ORDER BY collection, position, id"
    ):
        members.setdefault(name, []).append(content)
    rows = store.read("SELECT name, query, notes, made_at FROM collection")
    found = [
        CollectionRecord(name, query, notes, from_text(at), tuple(members.get(name, ())))
        for name, query, notes, at in rows
    ]
    return sorted(found, key=lambda one: (one.name.casefold(), one.name))


def find_collection(store: Store, name: str, *, whole: bool = False) -> CollectionRecord:
    """The collection called `name`, or the only one whose name begins so; case is passed over.

    With `whole`, as whatever changes one asks it, the beginning of a name is none.
    Raises `NotFound` with what there is, and `Ambiguous` with the candidates.
    """
    known = all_collections(store)
    wanted = normal(name).casefold()
    called = [one for one in known if one.name.casefold() == wanted]
    if whole and not called:
        refuse_beginning(name, [one.name for one in known], "collection")
    found = called or [one for one in known if wanted and one.name.casefold().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        names = listed([one.name for one in found])
        raise Ambiguous(f"{name!r} fits {len(found)} collections.", hint=f"Say which: {names}")
    there_are = f"There are: {listed([one.name for one in known])}. " if known else ""
    raise NotFound(
        f"No collection is called {name!r}.",
        hint=f"{there_are}Make one: lorakit collection new NAME",
    )


def make_collection(session: Session, name: str, query: str | None, notes: str) -> str:
    """Insert an empty collection; its name as it is kept.

    Raises `BadUsage` for a name that cannot be one, `CatalogError` for one that is taken.
    """
    from lorakit.db.curation import Collection

    name = _free(session, name)
    if query is not None and not query.strip():
        raise BadUsage("The query is empty.", hint="Leave --query out for a collection by hand.")
    if query is not None:
        query = storable(query)
    session.add(Collection(name=name, query=query, notes=storable(notes)))
    session.flush()
    return name


def add_members(session: Session, name: str, contents: Sequence[str]) -> int:
    """Put contents at the end of the collection `name`; how many were not in it.

    Raises `CatalogError` for an adapter that is pending.
    """
    from lorakit.db.curation import Member

    if _row(session, name).query is not None:
        raise BadUsage(
            f"The collection {name!r} holds what its query finds; nothing can be put into it.",
            hint="Make another for it: lorakit collection new NAME",
        )
    require_known(contents)
    there = _members(session, name)
    last = max((row.position for row in there.values()), default=0)
    new = [content for content in dict.fromkeys(contents) if content not in there]
    session.add_all(
        Member(collection=name, content=content, position=place)
        for place, content in enumerate(new, start=last + 1)
    )
    session.flush()
    return len(new)


def remove_members(session: Session, name: str, contents: Sequence[str]) -> int:
    """Take contents out of the collection `name`; how many were in it."""
    if _row(session, name).query is not None:
        raise BadUsage(
            f"The collection {name!r} holds what its query finds; nothing can be taken out of it.",
            hint="Make it anew with another query.",
        )
    there = _members(session, name)
    gone = [there[content] for content in dict.fromkeys(contents) if content in there]
    for row in gone:
        session.delete(row)
    session.flush()
    return len(gone)


def rename_collection(session: Session, name: str, new: str) -> str:
    """Give the collection `name` another name; that name as it is kept."""
    row, members = _row(session, name), _members(session, name)
    row.name = new = _free(session, new, besides=name)
    for member in members.values():
        member.collection = new
    session.flush()
    return new


def drop_collection(session: Session, name: str) -> None:
    """Remove the collection `name` with its members; the adapters stay."""
    for member in _members(session, name).values():
        session.delete(member)
    session.delete(_row(session, name))
    session.flush()


def _free(session: Session, name: str, besides: str | None = None) -> str:
    from sqlalchemy import select

    from lorakit.db.curation import Collection

    check_name(name)
    name = normal(name.strip())
    for taken in session.scalars(select(Collection.name)):
        if taken != besides and taken.casefold() == name.casefold():
            raise CatalogError(
                f"There is a collection {taken!r} already.", hint="Choose another name."
            )
    return name


def _row(session: Session, name: str) -> Collection:
    from sqlalchemy import select

    from lorakit.db.curation import Collection

    row = session.scalar(select(Collection).where(Collection.name == name))
    if row is None:
        raise NotFound(f"No collection is called {name!r}.")
    return row


def _members(session: Session, name: str) -> dict[str, Member]:
    from sqlalchemy import select

    from lorakit.db.curation import Member

    rows = session.scalars(select(Member).where(Member.collection == name))
    return {row.content: row for row in rows}
