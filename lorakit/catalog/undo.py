"""Steps of the journal, and taking them back.

Undoing is a step itself, so nothing is ever lost: undoing that one brings back what was undone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lorakit.db.store import Store
from lorakit.db.times import from_text
from lorakit.errors import LorakitError, NotFound

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lorakit.db.curation import Change, Step


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One command that changed the catalog, and how many rows of which tables.

    `undoes` is the step that it took back, `undone_by` the one that took it back.
    """

    id: int
    at: datetime
    command: str
    rows: int
    tables: dict[str, int]
    undoes: int | None
    undone_by: int | None


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back: `number` is the step that did it, None where it was only tried.

    `changes` says what is different now, a line a row; `notes` what could not be as it was.
    """

    step: int
    command: str
    number: int | None
    changes: tuple[str, ...]
    notes: tuple[str, ...]


def all_steps(store: Store, limit: int | None = None) -> list[StepRecord]:
    """The steps, the latest first, `limit` of them at most."""
    tables: dict[int, Counter[str]] = {}
    rows = store.read(
        "SELECT id, at, command, undoes, undone_by FROM step ORDER BY id DESC LIMIT :most",
        {"most": 1 << 31 if limit is None else limit},
    )
    oldest = min((row[0] for row in rows), default=0)
    for step, table, count in store.read(
        "SELECT step_id, table_name, count(*) FROM change WHERE step_id >= :oldest "
        "GROUP BY step_id, table_name ORDER BY step_id, table_name",
        {"oldest": oldest},
    ):
        tables.setdefault(step, Counter())[table] = count
    return [
        StepRecord(
            number, from_text(at), command, tables[number].total(), dict(tables[number]), undoes, by
        )
        for number, at, command, undoes, by in rows
        if number in tables
    ]


def undo_step(session: Session, number: int | None) -> Undone:
    """Take back a step, the last that stands for None.

    Without a number, steps that only took others back are passed over: undoing again goes further back.
    Raises `NotFound` where there is no such step, and `LorakitError` for one that was undone already or
    that a later one has built on.
    """
    from sqlalchemy import select

    from lorakit.catalog.journal import stepping
    from lorakit.catalog.reverting import Reversal
    from lorakit.db.curation import Change

    step = _find(session, number)
    wanted = select(Change).where(Change.step_id == step.id).order_by(Change.id)
    changes = list(session.scalars(wanted))
    lines = _lines(session, changes)
    with stepping(session, f"undo {step.id}", undoes=step.id) as recording:
        reversal = Reversal(session, step, changes)
        reversal.revert()
    if recording.step is None:
        raise LorakitError(
            f"Step {step.id} ({step.command}) has nothing left to take back.",
            hint=" ".join((*reversal.notes, "`lorakit undo NUMBER` takes back an earlier step.")),
        )
    _settle(session, recording.step)
    return Undone(
        step.id,
        step.command,
        recording.step.id,
        tuple(lines),
        tuple(reversal.notes),
    )


def last_undo(store: Store) -> int:
    """The last step that took another back and stands. Raises `NotFound` where there is none."""
    rows = store.read(
        "SELECT max(id) FROM step WHERE undoes IS NOT NULL AND undone_by IS NULL AND EXISTS "
        "(SELECT 1 FROM step AS first WHERE first.undone_by = step.id AND first.undoes IS NULL)"
    )
    if rows[0][0] is None:
        raise NotFound("Nothing was undone that could be brought back.")
    return int(rows[0][0])


def _find(session: Session, number: int | None) -> Step:
    from sqlalchemy import select

    from lorakit.db.curation import Step

    if number is None:
        wanted = select(Step).where(Step.undone_by.is_(None), Step.undoes.is_(None))
        step = session.scalar(wanted.order_by(Step.id.desc()).limit(1))
        if step is None:
            raise NotFound(
                "There is nothing to undo.", hint="`lorakit undo --list` shows all steps."
            )
        return step
    step = session.get(Step, number)
    if step is None:
        raise NotFound(f"There is no step {number}.", hint="`lorakit undo --list` shows all steps.")
    if step.undone_by is not None:
        raise LorakitError(
            f"Step {number} ({step.command}) was undone already, by step {step.undone_by}.",
            hint=f"To bring it back: lorakit undo {step.undone_by}",
        )
    return step


def _settle(session: Session, last: Step) -> None:
    """Note along a chain of steps that took back one another which of them stand now."""
    from lorakit.db.curation import Step

    stands = True
    while last.undoes is not None and (first := session.get(Step, last.undoes)) is not None:
        first.undone_by = last.id if stands else None
        last, stands = first, not stands


def _lines(session: Session, changes: list[Change]) -> list[str]:
    """What taking back `changes` does, a line a row that a person would know of."""
    from lorakit.catalog.describing import Namer, change_line
    from lorakit.catalog.journal import MODELS

    names = Namer(session)
    lines = (
        change_line(MODELS[change.table_name], change.after, change.before, names, "back")
        for change in changes
    )
    return [line for line in lines if line is not None]
