"""The part of the catalog that keeps what people say: facts, tags, and the journal of changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lorakit.catalog.facts import FactsByField, NewFact, facts_of, store_facts
from lorakit.catalog.fields import USER
from lorakit.catalog.tags import store_tags, tags_of
from lorakit.db.store import Store

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Curation:
    """What `lorakit.Catalog` can do for a collector. Every change is in the journal and can be undone.

    "content" is an adapter's `tensor_sha256`: what is said of it outlasts renaming, moving and edits
    of the header.
    """

    _store: Store
    # The session of a step that is under way; changes made meanwhile are part of it.
    _session: Session | None = None

    @contextmanager
    def step(self, command: str) -> Iterator[Session]:
        """Make all changes within one step of the journal and one transaction, called `command`.

        Either all of them are kept or none; `undo` takes them back together. What is read meanwhile
        is as it was before. A step within a step is part of it.
        """
        if self._session is not None:
            yield self._session
            return
        from lorakit.catalog.journal import stepping

        with self._store.writing() as session, stepping(session, command):
            self._session = session
            try:
                yield session
            finally:
                self._session = None

    def facts(self, content: str) -> FactsByField:
        """What is said of a content by field, the word that counts first."""
        return facts_of(self._store, [content]).get(content, {})

    def all_facts(
        self, contents: Iterable[str] | None = None, fields: Sequence[str] = ()
    ) -> dict[str, FactsByField]:
        """As `facts`, of many contents (None: of all), limited to some `fields` if any are given."""
        return facts_of(self._store, contents, fields)

    def set_fact(
        self,
        content: str,
        field: str,
        value: Any,  # noqa: ANN401 - any JSON value
        source: str = USER,
        place: str = "",
    ) -> int:
        """Keep what a source says in a field of a content; None takes its word back.

        Returns how many rows changed. `lorakit.catalog.fields` has the fields, the sources and what may
        stand in each; `place` says where it stood. Raises `BadUsage` for anything else.
        """
        return self.set_facts([NewFact(content, field, value, source, place)])

    def set_facts(self, facts: Collection[NewFact]) -> int:
        """As `set_fact`, many at once."""
        with self.step(f"set {', '.join(sorted({fact.field for fact in facts}))}") as session:
            return store_facts(session, facts)

    def tags(self, content: str) -> tuple[str, ...]:
        """The tags of a content, the person's own first."""
        return tags_of(self._store, [content]).get(content, ())

    def all_tags(self, contents: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
        """The tags of many contents (None: of all) by content."""
        return tags_of(self._store, contents)

    def tag(
        self,
        contents: Sequence[str],
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        source: str = USER,
    ) -> int:
        """Give tags to contents and take others from them; how many rows changed.

        A person takes a tag away whoever gave it. Raises `BadUsage` for a text that cannot be a tag.
        """
        with self.step("tag") as session:
            return store_tags(session, contents, add, remove, source)
