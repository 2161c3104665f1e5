"""Take back one change after another of a step, unless something has changed since.

Rows are found by what they are about, not by their number, which may belong to another row by now. Only
adapters have numbers that others refer to: they get their own back, or a new one where it was given anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lorakit.catalog.describing import describe
from lorakit.catalog.journal import KEYS, MODELS, Row, decode_row, encode_row, table_of
from lorakit.catalog.naming import free_name
from lorakit.db.curation import Change, Collection, Member, Step
from lorakit.db.models import Adapter, Location, Report, Table
from lorakit.errors import LorakitError

_ABOUT_FILES = (Adapter, Report, Location)
# What is put back needs what it belongs to; what is taken away goes the other way round.
_ORDER: Mapping[type[Table], int] = {Adapter: 0, Report: 1, Location: 2, Collection: 3}
_COLLECTING = ("collection", "member")


class Reversal:
    """Takes back one step in a session; `notes` says what could not be as it was."""

    def __init__(self, session: Session, step: Step) -> None:
        self.notes: list[str] = []
        self._session = session
        self._step = step
        # Rows of adapters as they were then, and as they are now.
        self._adapters: dict[int, int] = {}
        self._there_again: set[int] = set()

    def revert(self, changes: Iterable[Change]) -> None:
        """Take back `changes`. Raises `LorakitError` where a later step stands in the way."""
        every = list(changes)
        made = [change for change in every if change.before is None]
        others = [change for change in every if change.before is not None]
        for change in sorted(made, key=_place, reverse=True):
            self._remove(MODELS[change.table_name], change.after or {})
        for change in sorted(others, key=_place):
            model, before = MODELS[change.table_name], change.before or {}
            if change.after is not None:
                self._change_back(model, before, change.after)
            elif model in _ABOUT_FILES:
                self._put_back_file(model, before)
            else:
                self._put_back(model, before)
        self._session.flush()
        self._check_members(c for c in every if c.table_name in _COLLECTING)

    def _remove(self, model: type[Table], after: Row) -> None:
        if model is Adapter:
            self._remove_adapter(after)
            return
        row = self._find(model, after)
        if model in _ABOUT_FILES and (row is None or row.adapter_id != after["adapter_id"]):
            # It is gone, or another adapter's by now.
            return
        if row is None or (model not in _ABOUT_FILES and _differs(row, after, after.keys())):
            raise self._in_the_way(model, after)
        self._session.delete(row)
        self._session.flush()

    def _remove_adapter(self, after: Row) -> None:
        adapter = self._session.get(Adapter, after["id"])
        if adapter is None or adapter.tensor_sha256 != after["tensor_sha256"]:
            raise self._in_the_way(Adapter, after)
        remove_adapter(self._session, adapter)

    def _change_back(self, model: type[Table], before: Row, after: Row) -> None:
        changed = [name for name in before if before[name] != after.get(name) and name != "id"]
        row = self._find(model, after)
        if row is None or _differs(row, after, changed):
            raise self._in_the_way(model, after)
        values = decode_row(model, {name: before[name] for name in changed})
        if model is Adapter and self._holder("name", values.get("name")) not in (None, row.id):
            raise self._in_the_way(model, after)
        for name, value in values.items():
            setattr(row, name, value)

    def _put_back(self, model: type[Table], before: Row) -> None:
        if self._find(model, before) is not None:
            raise self._in_the_way(model, before)
        values = decode_row(model, before)
        if self._session.get(model, values["id"]) is not None:
            del values["id"]
        self._session.add(model(**values))
        self._session.flush()

    def _put_back_file(self, model: type[Table], before: Row) -> None:
        values = decode_row(model, before)
        if model is Adapter:
            self._put_back_adapter(values)
            return
        old = values["adapter_id"]
        values["adapter_id"] = self._adapters.get(old, old)
        if (model is Report and old in self._there_again) or self._find(model, values) is not None:
            return
        if "id" in values and self._session.get(model, values["id"]) is not None:
            del values["id"]
        self._session.add(model(**values))
        self._session.flush()

    def _put_back_adapter(self, values: Row) -> None:
        old, name = values["id"], values["name"]
        there = self._holder("file_sha256", values["file_sha256"])
        if there is not None:
            self._adapters[old] = there
            self._there_again.add(old)
            self.notes.append(f"{name} had been added again; it stays as it is.")
            return
        if self._session.get(Adapter, old) is not None:
            del values["id"]
        if self._holder("name", name) is not None:
            values["name"] = free_name(name, set(self._session.scalars(select(Adapter.name))))
            self.notes.append(f"Another adapter is called {name} now; it is {values['name']}.")
        adapter = Adapter(**values)
        self._session.add(adapter)
        self._session.flush()
        self._adapters[old] = adapter.id

    def _holder(self, column: str, value: object) -> int | None:
        """The row of the adapter that has `value` in a column that is unique."""
        wanted = select(Adapter.id).where(getattr(Adapter, column) == value)
        return self._session.scalar(wanted)

    def _find(self, model: type[Table], row: Row) -> Any:  # noqa: ANN401 - a model
        keys = {name: row[name] for name in KEYS[model]}
        return self._session.scalar(select(model).filter_by(**keys))

    def _check_members(self, changes: Iterable[Change]) -> None:
        """Raise where a collection went whose members are there, or the other way round."""
        for change in changes:
            row = change.before or change.after or {}
            name = row["name"] if change.table_name == "collection" else row["collection"]
            there = self._session.scalar(select(Collection.id).where(Collection.name == name))
            member = self._session.scalar(select(Member).where(Member.collection == name).limit(1))
            if there is None and member is not None:
                raise self._in_the_way(Collection, {"name": name}, _plain(member))

    def _in_the_way(self, model: type[Table], row: Row, also: Row | None = None) -> LorakitError:
        what = describe(self._session, model, row)
        later = self._latest(model, row) or (self._latest(Member, also) if also else None)
        start = f"Step {self._step.id} cannot be undone: {what} "
        if later is None:
            return LorakitError(f"{start}has been changed since, outside the journal.")
        return LorakitError(
            f"{start}has been changed since by step {later.id} ({later.command}).",
            hint=f"Take that back first: lorakit undo {later.id}",
        )

    def _latest(self, model: type[Table], row: Row) -> Step | None:
        """The last step after this one that changed the same row."""
        key = [row[name] for name in KEYS[model]]
        wanted = (
            select(Change)
            .where(Change.step_id > self._step.id, Change.table_name == model.__tablename__)
            .order_by(Change.step_id.desc())
        )
        for change in self._session.scalars(wanted):
            found = change.after or change.before or {}
            if [found.get(name) for name in KEYS[model]] == key:
                return self._session.get(Step, change.step_id)
        return None


def remove_adapter(session: Session, adapter: Adapter) -> None:
    """Remove an adapter's row with its report and locations, one by one, so that the journal sees each."""
    for place in list(adapter.locations):
        session.delete(place)
    if adapter.report is not None:
        session.delete(adapter.report)
    session.delete(adapter)
    session.flush()


def _place(change: Change) -> int:
    return _ORDER.get(MODELS[change.table_name], len(_ORDER))


def _plain(row: Table) -> Row:
    table = table_of(type(row))
    return encode_row({column.name: getattr(row, column.name) for column in table.columns})


def _differs(row: Table, then: Row, columns: Iterable[str]) -> bool:
    now = _plain(row)
    return any(now[name] != then[name] for name in columns if name != "id" and name in now)
