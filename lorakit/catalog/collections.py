"""Collections: contents that a person has put together in an order, or a query that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
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


@dataclass(frozen=True, slots=True)
class Renamed:
    """A collection's new name, and what that meant for the smart ones that ask for it.

    `changed` are those whose queries name it anew, `lost` those that it no longer is found by: their
    patterns do not describe the new name, or they mean another collection, too.
    """

    name: str
    changed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


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
    query = None if query is None else _checked(query)
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
            hint=f"Give it another query: lorakit collection change {quote(name)} --query QUERY",
        )
    there = _members(session, name)
    gone = [there[content] for content in dict.fromkeys(contents) if content in there]
    for row in gone:
        session.delete(row)
    session.flush()
    return len(gone)


def change_collection(session: Session, name: str, query: str | None, notes: str | None) -> None:
    """Give the collection `name` another query or other notes; None leaves what is.

    Raises `BadUsage` for a query of a collection that is put together by hand, and an empty one.
    """
    row = _row(session, name)
    if query is not None:
        if row.query is None:
            raise BadUsage(
                f"The collection {name!r} holds what is put into it by hand, and has no query.",
                hint="Make another for it: lorakit collection new NAME --query QUERY",
            )
        row.query = _checked(query)
    if notes is not None:
        row.notes = storable(notes)
    session.flush()


def rename_collection(session: Session, name: str, new: str) -> Renamed:
    """Give the collection `name` another name, also in the queries of smart ones that name it."""
    row, members = _row(session, name), _members(session, name)
    new = _free(session, new, besides=name)
    changed, lost = _ask_anew(session, name, new)
    row.name = new
    for member in members.values():
        member.collection = new
    session.flush()
    # The collection itself may be one of them.
    called = {name: new}
    return Renamed(
        new,
        tuple(called.get(one, one) for one in changed),
        tuple(called.get(one, one) for one in lost),
    )


def drop_collection(session: Session, name: str) -> tuple[str, ...]:
    """Remove the collection `name` with its members; the adapters stay.

    Returns the names of the smart collections whose queries name it, and no other by the same word.
    """
    from lorakit.catalog.query.collected import names

    alone = _is_alone(session, name)
    asking = [one.name for one in _smart(session) if alone and names(one.query or "", name)]
    for member in _members(session, name).values():
        session.delete(member)
    session.delete(_row(session, name))
    session.flush()
    return tuple(one for one in asking if one != name)


def _ask_anew(session: Session, name: str, new: str) -> tuple[list[str], list[str]]:
    """Change the queries that name a collection; the smart ones that do, and that it is lost for."""
    from lorakit.catalog.query.collected import fits_pattern, names, renamed
    from lorakit.catalog.query.folding import fold

    if fold(name) == fold(new):
        return [], []
    alone = _is_alone(session, name)
    changed, lost = [], []
    for one in _smart(session):
        query = one.query or ""
        if alone and names(query, name):
            one.query = renamed(query, name, new)
            changed.append(one.name)
        elif names(query, name) or (fits_pattern(query, name) and not fits_pattern(query, new)):
            lost.append(one.name)
    return changed, lost


def _is_alone(session: Session, name: str) -> bool:
    """Whether no other collection is asked for by the same word, as "cafe" asks for "café", too."""
    from sqlalchemy import select

    from lorakit.catalog.query.folding import fold
    from lorakit.db.curation import Collection

    known = session.scalars(select(Collection.name))
    return not any(fold(other) == fold(name) for other in known if other != name)


def _smart(session: Session) -> list[Collection]:
    from sqlalchemy import select

    from lorakit.db.curation import Collection

    found = session.scalars(select(Collection).where(Collection.query.is_not(None)))
    return sorted(found, key=lambda one: one.name.casefold())


def _checked(query: str) -> str:
    if not query.strip():
        raise BadUsage(
            "The query is empty.", hint="Without --query, a collection is put together by hand."
        )
    return storable(query)


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
