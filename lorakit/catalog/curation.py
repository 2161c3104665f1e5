"""The part of the catalog that keeps what people say: facts, tags, and the journal of changes.

Lists show facts and tags; the rest is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lorakit.catalog.facts import FactsByField, NewFact, facts_of, store_facts
from lorakit.catalog.fields import USER
from lorakit.catalog.tags import store_tags, tag_sources_of, tags_of
from lorakit.db.store import Store
from lorakit.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from lorakit.catalog.collections import CollectionRecord, Renamed
    from lorakit.catalog.journal import Recording
    from lorakit.catalog.kept_stacks import KeptStackRecord
    from lorakit.catalog.undo import StepRecord, Undone


class Curation:
    """What `lorakit.Catalog` can do for a collector. Every change is in the journal and can be undone.

    "content" is an adapter's `tensor_sha256`: what is said of it outlasts renaming, moving and edits
    of the header.
    """

    _store: Store
    # The step that is under way; changes made meanwhile are part of it.
    _recording: Recording | None = None

    @contextmanager
    def step(self, command: str, *, dry_run: bool = False) -> Iterator[Recording]:
        """Make all changes within one step of the journal and one transaction, called `command`.

        Either all of them are kept or none; `undo` takes them back together. What is read meanwhile
        is as it was before. A step within a step is part of it. With `dry_run` everything is done, and
        then nothing is kept. The recording has the step's number afterwards, or what was rehearsed.
        """
        if self._recording is not None:
            yield self._recording
            return
        from lorakit.catalog.journal import stepping

        with (
            self._trying(dry_run),
            self._store.writing() as session,
            stepping(session, command) as recording,
        ):
            self._recording = recording
            try:
                yield recording
            finally:
                self._recording = None
            if dry_run:
                recording.rehearsed = recording.lines()
                raise _Rehearsed

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
        with self._writing(f"set {', '.join(sorted({fact.field for fact in facts}))}") as session:
            return store_facts(session, facts)

    def tags(self, content: str) -> tuple[str, ...]:
        """The tags of a content, the person's own first."""
        return tags_of(self._store, [content]).get(content, ())

    def tag_sources(self, content: str) -> tuple[tuple[str, str], ...]:
        """The same, each with who gave it: the person, where others did too."""
        return tag_sources_of(self._store, [content]).get(content, ())

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
        with self._writing("tag") as session:
            return store_tags(session, contents, add, remove, source)

    def collections(self) -> list[CollectionRecord]:
        """The collections by name."""
        from lorakit.catalog.collections import all_collections

        return all_collections(self._store)

    def collection(self, name: str, *, whole: bool = False) -> CollectionRecord:
        """The collection called `name`, or the only one whose name begins so; case is passed over.

        With `whole` only the name itself will do: whatever changes a collection asks for it so. Raises
        `NotFound` and `Ambiguous`.
        """
        from lorakit.catalog.collections import find_collection

        return find_collection(self._store, name, whole=whole)

    def new_collection(self, name: str, *, query: str | None = None, notes: str = "") -> str:
        """Make an empty collection, or with a `query` a smart one; its name as it is kept.

        Raises `BadUsage` for a name that cannot be one, and `CatalogError` for one that is taken.
        """
        from lorakit.catalog.collections import make_collection

        with self._writing(f"collection new {name}") as session:
            return make_collection(session, name, query, notes)

    def collect(self, name: str, contents: Sequence[str]) -> int:
        """Put contents into the collection of exactly this name; how many were not in it.

        Raises `NotFound`, and `BadUsage` for a smart collection.
        """
        from lorakit.catalog.collections import add_members

        with self._writing(f"collection add {name}") as session:
            return add_members(session, name, contents)

    def uncollect(self, name: str, contents: Sequence[str]) -> int:
        """Take contents out of the collection of exactly this name; how many were in it.

        Raises as `collect` does.
        """
        from lorakit.catalog.collections import remove_members

        with self._writing(f"collection remove {name}") as session:
            return remove_members(session, name, contents)

    def change_collection(
        self, name: str, *, query: str | None = None, notes: str | None = None
    ) -> None:
        """Give the smart collection of exactly this name another query, or any one other notes.

        Raises `NotFound`, and `BadUsage` for the query of a collection put together by hand.
        """
        from lorakit.catalog.collections import change_collection

        with self._writing(f"collection change {name}") as session:
            change_collection(session, name, query, notes)

    def rename_collection(self, name: str, new: str) -> Renamed:
        """Give a collection another name, also in the queries of smart collections that name it.

        Raises as `new_collection` does, and `NotFound`.
        """
        from lorakit.catalog.collections import rename_collection

        with self._writing(f"collection rename {name} {new}") as session:
            return rename_collection(session, name, new)

    def drop_collection(self, name: str) -> tuple[str, ...]:
        """Remove the collection of exactly this name; its adapters stay. Raises `NotFound`.

        Returns the names of the smart collections whose queries name it.
        """
        from lorakit.catalog.collections import drop_collection

        with self._writing(f"collection rm {name}") as session:
            return drop_collection(session, name)

    def kept_stacks(self) -> list[KeptStackRecord]:
        """The stacks kept by name."""
        from lorakit.catalog.kept_stacks import all_kept_stacks

        return all_kept_stacks(self._store)

    def kept_stack(self, name: str) -> KeptStackRecord | None:
        """The stack kept as `name`, without regard to case; None where there is none."""
        from lorakit.catalog.kept_stacks import find_kept_stack

        return find_kept_stack(self._store, name)

    def keep_stack(
        self, name: str, document: str, *, notes: str | None = None, replace: bool = False
    ) -> str:
        """Keep a stack, the text of a stack file, as `name`; the name as it is kept.

        Raises `BadUsage` for a name that cannot be one, and `CatalogError` for one that is taken,
        unless `replace`.
        """
        from lorakit.catalog.kept_stacks import store_kept_stack

        with self._writing(f"stack --keep {name}") as session:
            return store_kept_stack(session, name, document, notes, replace=replace)

    def drop_stack(self, name: str) -> str:
        """Keep a stack no longer; its name. Raises `NotFound`."""
        from lorakit.catalog.kept_stacks import drop_kept_stack

        with self._writing(f"stack --drop {name}") as session:
            return drop_kept_stack(session, name)

    def stack_pictures(self, stack: KeptStackRecord) -> list[Path]:
        """The pictures that were made with a kept stack as it is now and are there, the latest first."""
        from lorakit.catalog.kept_pictures import pictures_of

        return pictures_of(self._store, stack)

    def note_stack_pictures(self, stack: KeptStackRecord, paths: Sequence[Path]) -> None:
        """Note that pictures were made with a kept stack."""
        from lorakit.catalog.kept_pictures import note_pictures

        note_pictures(self._store, stack, paths)

    def rename(self, adapter: int, name: str) -> str:
        """Give an adapter, by its row (`AdapterRecord.id`), another name; it as it is kept.

        Its file keeps its own. Raises `BadUsage` for a name that cannot be one, `CatalogError` for one
        that is taken, and `NotFound` for an adapter that has gone.
        """
        from lorakit.catalog.naming import check_adapter_name, normal

        check_adapter_name(name)
        with self._writing(f"rename to {name}") as session:
            from lorakit.catalog.storing import rename_adapter
            from lorakit.db.models import Adapter

            row = session.get(Adapter, adapter)
            if row is None:
                raise NotFound("The adapter is no longer in the catalog.")
            rename_adapter(session, row, normal(name.strip()))
            return row.name

    def forget(self, adapters: Iterable[int]) -> int:
        """Remove adapters by their rows (`AdapterRecord.id`) from the catalog; how many there were.

        No file is touched, and what was said of their contents stays.
        """
        from lorakit.catalog.reverting import remove_adapters

        with self._writing("forget") as session:
            return remove_adapters(session, list(dict.fromkeys(adapters)))

    def steps(self, limit: int | None = None) -> list[StepRecord]:
        """The steps of the journal, the latest first, `limit` of them at most."""
        from lorakit.catalog.undo import all_steps

        return all_steps(self._store, limit)

    def undo(self, number: int | None = None, *, dry_run: bool = False) -> Undone:
        """Take back a step; without a number the last that stands and took none back itself.

        Undoing is a step too, so undoing that one brings back what was undone. With `dry_run` it is
        only tried. Raises `NotFound` for a step that is not there, and `LorakitError` for one that was
        undone already or that a later one has built on.
        """
        from lorakit.catalog.undo import undo_step

        undone: Undone
        with self._trying(dry_run), self._store.writing() as session:
            undone = undo_step(session, number)
            if dry_run:
                raise _Rehearsed
        return replace(undone, number=None) if dry_run else undone

    def last_undo(self) -> int:
        """The last step that took another back and still stands. Raises `NotFound` without one."""
        from lorakit.catalog.undo import last_undo

        return last_undo(self._store)

    @contextmanager
    def _writing(self, command: str) -> Iterator[Session]:
        with self.step(command) as recording:
            yield recording.session

    @contextmanager
    def _trying(self, dry_run: bool) -> Iterator[None]:
        try:
            yield
        except _Rehearsed:
            assert dry_run


class _Rehearsed(Exception):
    """Raised at the end of a dry run, so that nothing of it is kept."""
