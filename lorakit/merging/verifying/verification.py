"""What a verification found: identical, equal within rounding, or where and how it differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum, sqrt
from pathlib import Path
from typing import Any, Literal

from lorakit.merging.verifying.deviations import Deviation
from lorakit.merging.verifying.fitting import BlockSpan, Fit
from lorakit.strengths import Strength

Outcome = Literal["identical", "rounding", "differs"]

# From so many standard errors on, and so much of the strength, another strength is meant.
_STRIKING = 6.0
_LEAST_SHIFT = 2e-5
# Rounding lets one entry's other strength show a little in those of the rest: less than this share of it.
_CROSSTALK = 0.02
# A share of the change that no strengths explain, and how many times what rounding does, to be told.
_NOTICEABLE, _MORE = 0.01, 1.5
# What gains by block leave, as a share of what one gain leaves, to be shown.
_BETTER = 0.7
# Gains that agree to this are one gain of all.
_ALIKE = 0.01


@dataclass(frozen=True)
class Look:
    """The strength that an entry looks like: `gain` times what is stated, known to `error` of it.

    `striking` tells that chance does not explain the difference.
    """

    name: str
    stated: Strength
    gain: float
    error: float
    striking: bool

    @property
    def strength(self) -> float:
        """The strength it looks like, of the base strength that is stated."""
        return self.gain * self.stated.base

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "name": self.name,
            "stated": str(self.stated),
            "looks_like": self.strength,
            "gain": self.gain,
            "standard_error": self.error * abs(self.stated.base),
            "differs": self.striking,
        }


@dataclass(frozen=True)
class Verification:
    """One file against what it should hold.

    `how` says what it was compared with, in words; `to_the_bit` whether tensors were compared or, for a file of
    another program, its change alone. `missing` are tensors it should have, `extra` those it should not. `recipe`
    says how the recipe that was given differs from the file's record. `fit` and `looks` tell which strengths
    explain the difference, where that was looked for.
    """

    path: Path
    kind: Literal["adapter", "checkpoint"]
    outcome: Outcome
    how: str
    to_the_bit: bool
    tensors: int
    values: int
    deviations: tuple[Deviation, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    fit: Fit | None = None
    looks: tuple[Look, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    recipe: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """How many values differ."""
        return sum(one.differing for one in self.deviations)

    @property
    def common_gain(self) -> float | None:
        """What all entries together are multiplied by, where it is the same for all and not 1."""
        gains = [look.gain for look in self.looks]
        if not gains or not all(look.striking for look in self.looks):
            return None
        middle = fsum(gains) / len(gains)
        alike = all(abs(gain - middle) <= _ALIKE * max(abs(middle), _ALIKE) for gain in gains)
        return middle if alike else None

    @property
    def unexplained(self) -> float | None:
        """How much of the change no strengths explain, where that is more than rounding does; else None."""
        if self.fit is None:
            return None
        best = self.fit.by_block.unexplained if self.by_block else self.fit.unexplained
        return best if self._is_more_than_rounding(best) else None

    @property
    def by_block(self) -> tuple[tuple[BlockSpan, ...], ...]:
        """For each entry its gains by block, where these explain what one gain does not; else nothing."""
        if self.fit is None or not self._is_more_than_rounding(self.fit.unexplained):
            return ()
        found = self.fit.by_block
        return found.spans if found.unexplained < _BETTER * self.fit.unexplained else ()

    def _is_more_than_rounding(self, unexplained: float) -> bool:
        if self.fit is None or unexplained < _NOTICEABLE:
            return False
        size = fsum(one.error for one in self.deviations)
        noise = fsum(one.rounding for one in self.deviations)
        # Rounding is large beside a change of weights; that of an adapter's own numbers is not.
        known = self.kind == "checkpoint" and size > 0
        return not known or unexplained > _MORE * self.fit.error * sqrt(noise / size)

    @property
    def relative(self) -> float | None:
        """‖found - expected‖ / ‖expected‖ of the tensors that differ."""
        size = fsum(one.size for one in self.deviations)
        return sqrt(fsum(one.error for one in self.deviations) / size) if size else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        fit = self.fit
        return {
            "path": str(self.path),
            "kind": self.kind,
            "outcome": self.outcome,
            "compared_with": self.how,
            "to_the_bit": self.to_the_bit,
            "tensors": self.tensors,
            "values": self.values,
            "differing_tensors": len(self.deviations),
            "differing_values": self.differing,
            "relative_difference": self.relative,
            "missing": list(self.missing),
            "extra": list(self.extra),
            "deviations": [one.to_dict() for one in self.deviations],
            "change": None
            if fit is None
            else {
                "gain": fit.gain,
                "relative_error": fit.error,
                "unexplained": fit.unexplained,
                "unexplained_by_block": fit.by_block.unexplained,
                "worst_modules": [{"module": m, "share": s} for m, s in fit.worst],
            },
            "entries": [look.to_dict() for look in self.looks],
            "by_block": [
                [{"blocks": span.blocks, "gain": span.gain} for span in spans]
                for spans in self.by_block
            ],
            "remarks": list(self.remarks),
            "recipe_differs": list(self.recipe),
        }


def looks_of(names: Sequence[tuple[str, Strength]], fit: Fit) -> tuple[Look, ...]:
    """What each entry, by name and stated strength, looks like."""
    found = []
    least = max(_LEAST_SHIFT, _CROSSTALK * max((abs(gain - 1) for gain in fit.gains), default=0))
    for (name, stated), gain, apart in zip(names, fit.gains, fit.deviations, strict=True):
        error = abs(gain - 1) / apart if apart else 0.0
        striking = apart > _STRIKING and abs(gain - 1) > least
        found.append(Look(name, stated, gain, error, striking))
    return tuple(found)
