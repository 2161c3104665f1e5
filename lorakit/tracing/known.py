"""What may be recognised, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lorakit.sketches.sketch import Sketch

# "undecided": it may be there, and nothing registered can tell. "unseen": nothing points to it, though
# a small part could not have been seen.
Outcome = Literal["same", "contains", "undecided", "unseen", "absent"]


@dataclass(frozen=True)
class Known:
    """A model that may be recognised: a base, an adapter, or one known by its fingerprint alone.

    `content` is the SHA-256 of its tensors, `model` a key of the table of known models, `parent` the
    content of what it was made from, where that is known. `holds` says what `sketch` is of: a whole
    model's weights, or the change that an adapter makes.
    """

    content: str
    name: str
    holds: Literal["weights", "change"]
    sketch: Sketch
    model: str | None = None
    parent: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a suspect has of a known model.

    `strength` is the estimated coefficient of the known model's own change, `error` its standard error,
    both None where none could be estimated. `how` is a sentence that says what was seen; `settle`
    what would decide an open question. `change` is what was looked for, `reference` the model that a
    checkpoint was compared with.
    """

    known: Known
    outcome: Outcome
    how: str
    strength: float | None = None
    error: float | None = None
    settle: str | None = None
    change: Sketch | None = field(default=None, repr=False, compare=False)
    reference: Known | None = field(default=None, repr=False, compare=False)

    @property
    def z(self) -> float | None:
        """How many standard errors the strength lies from zero."""
        if self.strength is None or self.error is None:
            return None
        return self.strength / self.error
