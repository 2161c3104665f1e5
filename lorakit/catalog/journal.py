"""The journal: every change of what a person keeps, row by row, with before and after.

Rows are read from the database itself, just before and just after each flush: what is written down is
what was stored, not what an object was thought to hold. Statements that change many rows at once would
not pass here, so a step refuses them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, LargeBinary, event, insert, inspect, select
from sqlalchemy import Table as SqlTable
from sqlalchemy.orm import ORMExecuteState, Session

from lorakit.catalog.fields import ASKED, ASKED_TERMS
from lorakit.catalog.naming import storable
from lorakit.db.curation import Change, Collection, Fact, KeptStack, Member, Step, Tag
from lorakit.db.models import Adapter, Claim, Location, Report, Table, UtcTime
from lorakit.db.times import from_text, to_text

# A row is the same one as long as these agree: numbers may be given anew when a row has gone.
KEYS: Mapping[type[Table], tuple[str, ...]] = {
    Fact: ("content", "field", "source"),
    Tag: ("content", "tag", "source"),
    Collection: ("name",),
    Member: ("collection", "content"),
    KeptStack: ("name",),
    Claim: ("content", "origin", "source"),
    Adapter: ("id",),
    Report: ("adapter_id",),
    Location: ("path",),
}
MODELS: Mapping[str, type[Table]] = {model.__tablename__: model for model in KEYS}
Row = dict[str, Any]
CHUNK = 500


@dataclass
class Recording:
    """A step that is being written down; `step` is its row once it is done, if it changed anything.

    `rehearsed` is what a dry run would have changed, as `lines` gives it.
    """

    session: Session
    recorder: Recorder
    step: Step | None = None
    rehearsed: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """What has changed so far, a line a row that a person would know of."""
        from lorakit.catalog.describing import Namer, change_line

        self.session.flush()
        names = Namer(self.session)
        found = (
            change_line(row.model, row.before, row.after, names)
            for row in self.recorder.net_changes()
        )
        return tuple(line for line in found if line is not None)

    def insert(self, model: type[Table], rows: Sequence[Mapping[str, Any]]) -> None:
        """Make many rows of a model at once, written down like every change."""
        self.session.flush()
        self.recorder.insert(self.session, model, rows)

    @property
    def number(self) -> int | None:
        """The step's number once it is done; None where it changed nothing, or was only tried."""
        return self.step.id if self.step is not None else None


@contextmanager
def stepping(session: Session, command: str, undoes: int | None = None) -> Iterator[Recording]:
    """Write down what is changed in `session` meanwhile, as one step called `command`.

    A step that changes nothing, or only when somebody was asked, is not kept. The session's transaction holds both, so the tables and the
    journal agree whatever happens. Raises `RuntimeError` for a statement that would pass the journal by.
    """
    session.flush()
    recorder = Recorder()
    listeners: dict[str, Callable[..., None]] = {
        "before_flush": recorder.before_flush,
        "after_flush": recorder.after_flush,
        "do_orm_execute": _refuse_bulk,
    }
    recording = Recording(session, recorder)
    for name, listener in listeners.items():
        event.listen(session, name, listener)
    try:
        yield recording
        session.flush()
    finally:
        for name, listener in listeners.items():
            event.remove(session, name, listener)
    changes = recorder.net_changes()
    if not all(is_asking(change.model, change.after or change.before or {}) for change in changes):
        recording.step = _write(session, command, undoes, changes)


def is_asking(model: type[Table], row: Row) -> bool:
    """Whether a row only says when somebody was asked, which goes on while steps stand."""
    return model is Fact and row.get("field") in (ASKED, ASKED_TERMS)


def encode_row(row: Mapping[str, Any]) -> Row:
    """A row as JSON takes it: times as text, bytes in base 64."""
    return {name: _encode(value) for name, value in row.items()}


def decode_row(model: type[Table], row: Mapping[str, Any]) -> Row:
    """The inverse of `encode_row` for a row of `model`; columns that are no more are left out."""
    columns = table_of(model).columns
    return {name: _decode(columns[name].type, v) for name, v in row.items() if name in columns}


def table_of(model: type[Table]) -> SqlTable:
    """The table behind a model."""
    table = model.__table__
    assert isinstance(table, SqlTable)
    return table


@dataclass(frozen=True)
class Changed:
    """A row before and after; None where there was none."""

    model: type[Table]
    row_id: int
    before: Row | None
    after: Row | None


class Recorder:
    """Listens to one session, and keeps each row as it was at first and as it is now."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], Changed] = {}
        self._before: dict[tuple[type[Table], int], Row] = {}

    def before_flush(self, session: Session, *_: object) -> None:
        """Read the rows that are about to change."""
        objects = [o for o in session.dirty if session.is_modified(o)] + list(session.deleted)
        self._before = _read(session.connection(), _places(objects))

    def after_flush(self, session: Session, *_: object) -> None:
        """Read the rows that have changed or were made."""
        removed = _places(session.deleted)
        made = _places(session.new)
        after = _read(session.connection(), {*(self._before.keys() - removed), *made})
        for place in {**self._before, **after}:
            self._note(*place, self._before.get(place), after.get(place))
        self._before = {}

    def insert(
        self, session: Session, model: type[Table], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Make many rows of a model at once, without an object for each."""
        if not rows:
            return
        table, connection = table_of(model), session.connection()
        (number,) = table.primary_key.columns
        made = connection.execute(insert(table).returning(number), list(rows))
        for place, after in _read(connection, {(model, row[0]) for row in made}).items():
            self._note(*place, None, after)

    def net_changes(self) -> list[Changed]:
        """What is different in the end, in the order in which it was first touched."""
        return [row for row in self._rows.values() if row.before != row.after]

    def _note(self, model: type[Table], row_id: int, before: Row | None, after: Row | None) -> None:
        row = after or before
        if row is None:
            return
        old_key, new_key = (_key(model, one) if one else None for one in (before, after))
        if old_key and new_key and old_key != new_key:
            # A row that was renamed: for its key, one went and another came.
            self._note(model, row_id, before, None)
            self._note(model, row_id, None, after)
            return
        key = old_key or new_key
        assert key is not None
        first = self._rows.get(key)
        self._rows[key] = Changed(model, row_id, first.before if first else before, after)


def _key(model: type[Table], row: Row) -> tuple[Any, ...]:
    return (model, *(row[name] for name in KEYS[model]))


def _places(objects: Iterable[object]) -> set[tuple[type[Table], int]]:
    """Model and row number of those objects that the journal is about."""
    found: set[tuple[type[Table], int]] = set()
    for one in objects:
        if isinstance(one, Table) and type(one) in KEYS:
            (row_id,) = inspect(one).mapper.primary_key_from_instance(one)
            found.add((type(one), row_id))
    return found


def _read(
    connection: Connection, places: Iterable[tuple[type[Table], int]]
) -> dict[tuple[type[Table], int], Row]:
    numbers: dict[type[Table], list[int]] = {}
    for model, row_id in sorted(places, key=lambda place: (place[0].__tablename__, place[1])):
        numbers.setdefault(model, []).append(row_id)
    found: dict[tuple[type[Table], int], Row] = {}
    for model, ids in numbers.items():
        table = table_of(model)
        (number,) = table.primary_key.columns
        for start in range(0, len(ids), CHUNK):
            wanted = select(table).where(number.in_(ids[start : start + CHUNK])).order_by(number)
            for row in connection.execute(wanted).mappings():
                found[model, row[number]] = encode_row({str(k): v for k, v in row.items()})
    return found


def _refuse_bulk(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        mapper = state.bind_mapper
        if mapper is None or mapper.class_ in KEYS:
            raise RuntimeError(f"{state.statement} would pass the journal by")


def _write(session: Session, command: str, undoes: int | None, changes: Iterable[Changed]) -> Step:
    step = Step(command=storable(command), undoes=undoes, undone_by=None)
    session.add(step)
    session.flush()
    rows = [
        {
            "step_id": step.id,
            "table_name": change.model.__tablename__,
            "row_id": change.row_id,
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
    # A scan may write hundreds of thousands, and objects would take minutes.
    session.connection().execute(insert(table_of(Change)), rows)
    return step


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    return value


def _decode(kind: object, value: Any) -> Any:  # noqa: ANN401 - a column's value
    if isinstance(kind, UtcTime) and isinstance(value, str):
        return from_text(value)
    if isinstance(kind, LargeBinary) and isinstance(value, str):
        return b64decode(value)
    return value
