"""What may be recognised, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lorakit.sketches.sketch import Sketch

Holds = Literal["weights", "change"]
# "undecided": it may be there, and nothing registered can tell. "unseen": nothing points to it, though
# a small part could not have been seen.
Outcome = Literal["same", "contains", "undecided", "unseen", "absent"]


def held_by(kind: Literal["base", "adapter"]) -> Holds:
    """What the sketch of a base or of an adapter holds."""
    return "weights" if kind == "base" else "change"


@dataclass(frozen=True, eq=False)
class Known:
    """A model that may be recognised: a base, an adapter, or one known by its fingerprint alone.

    `content` is the SHA-256 of its tensors, `model` a key of the table of known models, `parent` the
    content of what it was made from, where that is known. `holds` says what `sketch` is of: a whole
    model's weights, or the change that an adapter makes. `path` is its file, where there is one here.
    """

    content: str
    name: str
    holds: Holds
    sketch: Sketch
    model: str | None = None
    parent: str | None = None
    path: Path | None = None


@dataclass(frozen=True)
class Finding:
    """What a suspect has of a known model.

    `strength` is the estimated coefficient of the known model's own change, `error` its standard error,
    both None where none could be estimated; `z` how many standard errors it lies from zero. `where` names
    the part that they are of, where the change is in that part alone; `count` is how many values they rest
    on. `how` is a sentence that says what was seen, `settle` what would decide an open question. `like` is the name of another model whose change
    is so much the same that one cannot be told from the other. `change` is what was looked for,
    `reference` the model that a checkpoint was compared with, and `beside` what else was found there, with
    its coefficient.
    """

    known: Known
    outcome: Outcome
    how: str
    strength: float | None = None
    error: float | None = None
    z: float | None = None
    settle: str | None = None
    like: str | None = None
    where: str | None = None
    count: int = 0
    change: Sketch | None = field(default=None, repr=False, compare=False)
    reference: Known | None = field(default=None, repr=False, compare=False)
    beside: tuple[tuple[Finding, float], ...] = field(default=(), repr=False, compare=False)
