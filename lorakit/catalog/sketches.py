"""Weight sketches: kept by content, so that they outlast the files they were taken of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lorakit.catalog.records import SketchKind, SketchRecord
from lorakit.db.store import Store
from lorakit.db.times import from_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_COLUMNS = "id, content, kind, name, model, parent, made_at"


def sketches_of(
    store: Store, content: str | None = None, kind: SketchKind | None = None
) -> list[SketchRecord]:
    """The sketches of this version's scheme, by name; of one content or one kind where it is given."""
    # Not above: a command that only lists adapters needs none of it.
    from lorakit.sketches.positions import SCHEME

    wanted = {"scheme": SCHEME, "content": content, "kind": kind}
    given = {column: value for column, value in wanted.items() if value is not None}
    where = " AND ".join(f"{column} = :{column}" for column in given)
    rows = store.read(f"SELECT {_COLUMNS} FROM sketch WHERE {where} ORDER BY name, id", given)
    return [
        SketchRecord(number, about, sort, name, model, parent, from_text(made_at))
        for number, about, sort, name, model, parent, made_at in rows
    ]


def sketch_data(store: Store, number: int) -> bytes | None:
    """The bytes of the sketch in row `number`, None where it has gone."""
    rows = store.read("SELECT data FROM sketch WHERE id = :id", {"id": number})
    return bytes(rows[0][0]) if rows else None


def store_sketch(
    session: Session,
    content: str,
    kind: SketchKind,
    *,
    name: str,
    model: str | None,
    parent: str | None,
    data: bytes,
) -> None:
    """Keep a sketch, in place of the one of the same content and kind."""
    from sqlalchemy import select

    from lorakit.db.models import Sketch
    from lorakit.sketches.positions import SCHEME

    found = session.scalar(select(Sketch).where(Sketch.content == content, Sketch.kind == kind))
    sketch = found or Sketch(content=content, kind=kind)
    sketch.name, sketch.model, sketch.parent = name, model, parent
    sketch.scheme, sketch.data, sketch.made_at = SCHEME, data, datetime.now(UTC)
    session.add(sketch)


def drop_sketch(session: Session, number: int) -> None:
    """Remove the sketch in row `number`."""
    from sqlalchemy import delete

    from lorakit.db.models import Sketch

    session.execute(delete(Sketch).where(Sketch.id == number))
