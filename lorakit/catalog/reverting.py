"""Take back the changes of a step, unless something has changed since.

Rows are found by what they are about, not by their number, which may belong to another row by now. Only
adapters have numbers that others refer to: they get their own back, or a new one where it was given anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from lorakit.catalog.describing import Namer, describe
from lorakit.catalog.journal import (
    CHUNK,
    KEYS,
    MODELS,
    Row,
    decode_row,
    encode_row,
    is_asking,
    table_of,
)
from lorakit.catalog.naming import free_name
from lorakit.db.curation import Change, Collection, Member, Step
from lorakit.db.models import Adapter, Location, Report, Table
from lorakit.errors import LorakitError

_ABOUT_FILES = (Adapter, Report, Location)
# What is put back needs what it belongs to; what is taken away goes the other way round.
_ORDER: Mapping[type[Table], int] = {Adapter: 0, Report: 1, Location: 2, Collection: 3}


class Reversal:
    """Takes back one step in a session; `notes` says what could not be as it was."""

    def __init__(self, session: Session, step: Step, changes: Iterable[Change]) -> None:
        self.notes: list[str] = []
        self._session = session
        self._step = step
        self._changes = sorted(changes, key=_place)
        # Rows that are there, by model and key, and numbers that are taken.
        self._there: dict[tuple[Any, ...], Any] = {}
        self._numbers: dict[type[Table], set[int]] = {}
        # Numbers of adapters as they were then, and as they are now.
        self._adapters: dict[int, int] = {}
        self._there_again: set[int] = set()
        self._going: list[int] = []

    def revert(self) -> None:
        """Take back the changes. Raises `LorakitError` where a later step stands in the way."""
        self._look_up()
        for change in reversed(self._changes):
            if change.before is None:
                self._remove(MODELS[change.table_name], change.after or {})
        self._session.flush()
        remove_adapters(self._session, self._going)
        for model, changes in _by_model(self._changes).items():
            # What gets a number anew comes after those that have their own.
            anew: list[Table] = []
            for before, after in changes:
                if after is not None:
                    self._change_back(model, before, after)
                else:
                    self._put_back(model, before, anew)
            self._session.flush()
            self._session.add_all(anew)
            self._session.flush()
            self._note_numbers(model, anew)
        self._check_members()

    def _look_up(self) -> None:
        """Read the rows that the changes are about, many at once."""
        for model in {MODELS[change.table_name] for change in self._changes}:
            rows = [
                change.after or change.before or {}
                for change in self._changes
                if change.table_name == model.__tablename__
            ]
            table = table_of(model)
            first, (number,) = table.columns[KEYS[model][0]], table.primary_key.columns
            for chunk in _chunks(list(dict.fromkeys(row[first.name] for row in rows))):
                for found in self._session.scalars(select(model).where(first.in_(chunk))):
                    self._there[_key(model, _plain(found))] = found
            taken = self._numbers.setdefault(model, set())
            for chunk in _chunks([row[number.name] for row in rows]):
                taken |= set(self._session.scalars(select(number).where(number.in_(chunk))))
        if Adapter in self._numbers:
            wanted = select(Adapter.id, Adapter.name, Adapter.file_sha256)
            found_adapters = self._session.execute(wanted).all()
            self._names = {name: row_id for row_id, name, _ in found_adapters}
            self._hashes = {digest: row_id for row_id, _, digest in found_adapters}

    def _remove(self, model: type[Table], after: Row) -> None:
        row = self._there.pop(_key(model, after), None)
        if model is Adapter:
            if row is None or row.tensor_sha256 != after["tensor_sha256"]:
                raise self._in_the_way(model, after)
            self._going.append(row.id)
            return
        if model in _ABOUT_FILES and (row is None or row.adapter_id != after["adapter_id"]):
            # It is gone, or another adapter's by now.
            return
        if is_asking(model, after):
            # Asking again with no news is no step, so this may be another time or none.
            if row is not None:
                self._session.delete(row)
            return
        if row is None or (model not in _ABOUT_FILES and _differs(row, after, after.keys())):
            raise self._in_the_way(model, after)
        self._numbers[model].discard(_plain(row)[_number(model)])
        self._session.delete(row)

    def _change_back(self, model: type[Table], before: Row, after: Row) -> None:
        changed = [name for name in before if before[name] != after.get(name) and name != "id"]
        row = self._there.get(_key(model, after))
        if row is None and is_asking(model, after):
            return
        if row is None or (not is_asking(model, after) and _differs(row, after, changed)):
            raise self._in_the_way(model, after)
        values = decode_row(model, {name: before[name] for name in changed})
        if model is Adapter and self._names.get(values.get("name", "")) not in (None, row.id):
            raise self._in_the_way(model, after)
        for name, value in values.items():
            setattr(row, name, value)

    def _put_back(self, model: type[Table], before: Row, anew: list[Table]) -> None:
        values = decode_row(model, before)
        if model is Adapter and not self._free(values):
            return
        if model in (Report, Location):
            old = values["adapter_id"]
            values["adapter_id"] = self._adapters.get(old, old)
            again = model is Report and old in self._there_again
            if again or _key(model, values) in self._there:
                return
        elif is_asking(model, before) and _key(model, before) in self._there:
            return
        elif _key(model, before) in self._there and model is not Adapter:
            raise self._in_the_way(model, before)
        is_new = "id" in values and values["id"] in self._numbers[model]
        if is_new:
            del values["id"]
        row = model(**values)
        if model is Adapter:
            self._adapters[before["id"]] = before["id"]
        if is_new:
            anew.append(row)
        else:
            self._session.add(row)

    def _free(self, values: Row) -> bool:
        """Whether an adapter has to be put back, and if so, under a name that is free."""
        name = values["name"]
        there = self._hashes.get(values["file_sha256"])
        if there is not None:
            self._adapters[values["id"]] = there
            self._there_again.add(values["id"])
            self.notes.append(self._called_again(there, name))
            return False
        if name in self._names:
            values["name"] = free_name(name, self._names)
            self.notes.append(f"Another adapter is called {name} now; it is {values['name']}.")
        self._names[values["name"]] = 0
        return True

    def _called_again(self, there: int, name: str) -> str:
        """Give an adapter that was added again its old name, where nobody else has it by now."""
        row = self._session.get(Adapter, there)
        if row is None or row.name == name or name in self._names:
            return f"{name} had been added again; it stays as it is."
        before, row.name = row.name, name
        del self._names[before]
        self._names[name] = there
        return f"{before} had been added again; it is called {name} as it was."

    def _note_numbers(self, model: type[Table], anew: Sequence[Table]) -> None:
        """Let what belongs to adapters with new numbers follow them."""
        if model is not Adapter:
            return
        numbers = {row.file_sha256: row.id for row in anew if isinstance(row, Adapter)}
        for change in self._changes:
            row = change.before or {}
            if change.table_name == "adapter" and row.get("file_sha256") in numbers:
                self._adapters[row["id"]] = numbers[row["file_sha256"]]

    def _check_members(self) -> None:
        """Raise where a collection went whose members are there, or the other way round."""
        names = {
            row["name" if change.table_name == "collection" else "collection"]
            for change in self._changes
            if change.table_name in ("collection", "member")
            and (row := change.before or change.after)
        }
        for name in sorted(names):
            there = self._session.scalar(select(Collection.id).where(Collection.name == name))
            member = self._session.scalar(select(Member).where(Member.collection == name).limit(1))
            if there is None and member is not None:
                raise self._in_the_way(Collection, {"name": name}, _plain(member))

    def _in_the_way(self, model: type[Table], row: Row, also: Row | None = None) -> LorakitError:
        what = describe(model, row, Namer(self._session))
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
        wanted = (
            select(Change)
            .where(Change.step_id > self._step.id, Change.table_name == model.__tablename__)
            .order_by(Change.step_id.desc())
        )
        for change in self._session.scalars(wanted):
            if _key(model, change.after or change.before or {}) == _key(model, row):
                return self._session.get(Step, change.step_id)
        return None


def remove_adapters(session: Session, numbers: Sequence[int]) -> int:
    """Remove adapters by their rows, with reports and locations, so that the journal sees each row."""
    count = 0
    whole = (selectinload(Adapter.locations), selectinload(Adapter.report))
    for chunk in _chunks(numbers):
        found = session.scalars(select(Adapter).where(Adapter.id.in_(chunk)).options(*whole)).all()
        for adapter in found:
            for row in (*adapter.locations, *filter(None, [adapter.report]), adapter):
                session.delete(row)
        session.flush()
        count += len(found)
    return count


def _place(change: Change) -> int:
    return _ORDER.get(MODELS[change.table_name], len(_ORDER))


def _by_model(changes: Iterable[Change]) -> dict[type[Table], list[tuple[Row, Row | None]]]:
    """The changes of rows that were there before, as before and after, in order."""
    found: dict[type[Table], list[tuple[Row, Row | None]]] = {}
    for change in changes:
        if change.before is not None:
            model = MODELS[change.table_name]
            found.setdefault(model, []).append((change.before, change.after))
    return found


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def _key(model: type[Table], row: Row) -> tuple[Any, ...]:
    return (model, *(row.get(name) for name in KEYS[model]))


def _number(model: type[Table]) -> str:
    return next(iter(table_of(model).primary_key.columns)).name


def _plain(row: Table) -> Row:
    table = table_of(type(row))
    return encode_row({column.name: getattr(row, column.name) for column in table.columns})


def _differs(row: Table, then: Row, columns: Iterable[str]) -> bool:
    now = _plain(row)
    return any(now[name] != then[name] for name in columns if name != "id" and name in now)
