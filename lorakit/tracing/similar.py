"""How alike two adapters are, by what they change.

The cosine is that of their sketches over all modules of either: a module that only one of them has counts
as no change in the other. Signs of runs drawn at random say how large it would be between strangers
(Liang and Zeger, Biometrika 73, 1986, as everywhere in this room).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lorakit.counting import counted_rows
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Floats
from lorakit.tracing.grid import Grid, common_grid, with_blocks
from lorakit.tracing.rounding import FORMATS, fraction_bits

Kind = Literal[
    "same tensors", "same weights", "scaled", "nearly the same", "relative", "part", "unrelated"
]

# From here on they are nearly the same.
_SAME = 0.998
_SAME_SIZE = 0.01
# Sums of products in float32, in whatever order they were taken.
_ARITHMETIC = 1e-4
# A module that is so much smaller than the others is near zero, where formats have coarser steps.
_FAINT = 0.01
_RELATED = 0.3
# What adapters that were trained apart on one base may have in common, beyond chance.
LEAST = 0.03
_NULLS = 4.0
# Where this part of the modules that are alike are the very same, they were copied.
_COPIED = 0.9


@dataclass(frozen=True)
class Likeness:
    """How another adapter stands to this one.

    `cosine` is between -1 and 1 over all modules of either, `within` over those that both have. `ratio` is
    the size of the other's change relative to this one's. `chance` is what the cosine of strangers would
    seldom exceed (four standard errors). Of the modules, `either` counts those that one of them has,
    `common` those that both have, `equal` those that change in the same direction in both, and `differing`
    those that differ by more than rounding to the formats of both files explains, at the scale of most.
    `but_text_encoder` says that one of them changes the text encoder, too, which is not compared.
    """

    kind: Kind
    cosine: float
    within: float
    ratio: float
    chance: float
    either: int
    common: int
    equal: int
    differing: int
    but_text_encoder: bool = False

    @property
    def scale(self) -> float:
        """By what to multiply this one to come nearest to the other, over all modules."""
        return self.cosine * self.ratio

    @property
    def back(self) -> Likeness:
        """How this one stands to the other."""
        return replace(self, ratio=1 / self.ratio) if self.ratio else self

    @property
    def words(self) -> str:
        """What the other is to this one, in a few words."""
        left_out = "; text encoders not compared" if self.but_text_encoder else ""
        if self.kind == "same weights":
            return f"the same weights, stored otherwise{left_out}"
        if self.kind == "scaled":
            return f"scaled by {_factor(self.scale)}{left_out}"
        if self.kind == "nearly the same":
            sized = self.cosine > 0 and abs(self.ratio - 1) <= _SAME_SIZE
            scaled = "" if sized else f", scaled by {_factor(self.scale)}"
            differ = "differs" if self.differing == 1 else "differ"
            return f"nearly the same weights{scaled}: {self.differing} of {counted_rows(self.either, 'module')} {differ}"
        if self.kind == "relative":
            return "resized, fine-tuned or merged relative"
        if self.kind == "part":
            equal = (
                f": {self.equal} of {counted_rows(self.either, 'module')} the same"
                if self.equal
                else ""
            )
            return f"shares a part{equal}"
        return "the same tensors" if self.kind == "same tensors" else "unrelated"


SAME_TENSORS = Likeness("same tensors", 1.0, 1.0, 1.0, 0.0, 0, 0, 0, 0)


def compare(this: Sketch, other: Sketch) -> Likeness:
    """How `other` stands to `this`. Modules that are undecided in either are left out."""
    this = with_blocks(this, other.blocks)
    open_questions = {*this.undecided, *other.undecided}
    mine, theirs = (set(one.values) - open_questions for one in (this, other))
    grid = common_grid([this, other], (name for name in this.values if name in mine & theirs))
    one, two = grid.take(this), grid.take(other)
    sizes = _size(this, mine), _size(other, theirs)
    product = sizes[0] * sizes[1]
    either = len(mine | theirs)
    if not product:
        return Likeness("unrelated", 0.0, 0.0, 0.0, 1.0, either, len(grid.names), 0, either)
    cosine = float(one @ two) / product
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    within = float(one @ two) / lengths if lengths else 0.0
    runs = np.bincount(grid.run, one * two) if len(one) else np.zeros(1)
    chance = _NULLS * float(np.linalg.norm(runs)) / product
    by_module = _module_cosines(one, two, grid)
    equal, alike = (int(np.count_nonzero(by_module >= least)) for least in (_SAME, _RELATED))
    ratio = sizes[1] / sizes[0]
    rounding, scale = rounded_apart(this.dtype, other.dtype), _usual_scale(one, two, grid)
    beyond = _beyond(scale * one, two, grid, rounding)
    lone = _counting(this, mine - set(grid.names)) + _counting(other, theirs - set(grid.names))
    differing = beyond + lone
    if not differing:
        kind: Kind = "same weights" if abs(scale - 1) <= rounding else "scaled"
    elif abs(cosine) >= _SAME:
        kind = "nearly the same"
    elif equal and equal >= _COPIED * alike and alike < either:
        kind = "part"
    elif within >= _RELATED and cosine > chance:
        kind = "relative"
    else:
        kind = "part" if abs(cosine) > max(LEAST, chance) else "unrelated"
    common = len(grid.names)
    return Likeness(kind, cosine, within, ratio, min(chance, 1.0), either, common, equal, differing)


def rounded_apart(one: str, other: str) -> float:
    """How far a module of two files may be apart by rounding alone, relative to its size.

    `one` and `other` are the safetensors codes of what is stored. A product of two factors, each of f bits of
    fraction, is off by 0.28 * 2^-f, root mean square (0.41 at most, where all values lie just above a power
    of two), and one of four factors by 0.4 * 2^-f; 2^-f leaves room for what sketches see of it. A format
    that is no plain float explains nothing.
    """
    parts = [2.0 ** -fraction_bits(code) if code in FORMATS else 0.0 for code in (one, other)]
    return math.hypot(*parts) + _ARITHMETIC


def _usual_scale(one: Floats, two: Floats, grid: Grid) -> float:
    """By what to multiply `one` to come nearest to `two` in the module in the middle.

    Unlike the scale of all, this is not moved by a module that alone has another one.
    """
    count = len(grid.names)
    dots, squares = (np.bincount(grid.module, one * values, count) for values in (two, one))
    there = squares > 0
    return float(np.median(dots[there] / squares[there])) if there.any() else 0.0


def _beyond(one: Floats, two: Floats, grid: Grid, rounding: float) -> int:
    """In how many modules `one` and `two` differ by more than `rounding`, relative to the larger."""
    count = len(grid.names)
    apart, first, second = (
        np.sqrt(np.bincount(grid.module, values * values, count))
        for values in (one - two, one, two)
    )
    size = np.maximum(first, second)
    usual = float(np.sqrt(np.mean(size**2))) if count else 0.0
    return int(np.count_nonzero(apart > rounding * np.maximum(size, _FAINT * usual)))


def _counting(sketch: Sketch, modules: set[str]) -> int:
    """How many of `modules` change anything."""
    return sum(bool(sketch.values[name].any()) for name in modules)


def _factor(scale: float) -> str:
    """`0.50`; with more digits where two would say 1."""
    near_one = _ARITHMETIC < abs(abs(scale) - 1) < 0.005
    return f"{scale:.4f}" if near_one else f"{scale:.2f}"


@dataclass(frozen=True)
class Mixture:
    """An adapter as a sum of others: `weights` by their place, and the `share` of its energy they explain."""

    weights: tuple[tuple[int, float], ...]
    share: float


def mixture(this: Sketch, others: Sequence[Sketch]) -> Mixture | None:
    """The sum of `others` that `this` is, where they explain nearly all of it and two or more count."""
    whole = _filled(this, [with_blocks(other, this.blocks) for other in others])
    grid = common_grid(whole)
    target, *columns = (grid.take(one) for one in whole)
    energy = float(target @ target)
    chosen = _apart(columns)
    if len(chosen) < 2 or not energy:
        return None
    matrix = np.stack([columns[at] for at in chosen], axis=1)
    found, *_ = np.linalg.lstsq(matrix, target, rcond=1e-6)
    left = target - matrix @ found
    share = 1 - float(left @ left) / energy
    parts = np.abs(found) * np.linalg.norm(matrix, axis=0) / np.sqrt(energy)
    order = (int(at) for at in np.argsort(-parts) if parts[at] > LEAST)
    weights = tuple((chosen[at], float(found[at])) for at in order)
    return Mixture(weights, share) if share >= _SAME**2 and len(weights) > 1 else None


def _apart(columns: Sequence[Floats]) -> list[int]:
    """The places of `columns` but those that are another one again, at whatever size."""
    chosen: list[int] = []
    unit: list[Floats] = []
    for at, column in enumerate(columns):
        length = float(np.linalg.norm(column))
        if length and all(abs(float(one @ column)) < _SAME * length for one in unit):
            chosen.append(at)
            unit.append(column / length)
    return chosen


def _filled(this: Sketch, others: Sequence[Sketch]) -> list[Sketch]:
    """All with the same modules: what one of them lacks, or left undecided, is zero there."""
    everyone = [this, *others]
    lengths = {name: len(found) for one in everyone for name, found in one.values.items()}
    return [
        Sketch(
            {
                name: one.values[name]
                if len(one.values.get(name, ())) == length
                else np.zeros(length, np.float32)
                for name, length in lengths.items()
            },
            one.dtype,
            one.blocks,
        )
        for one in everyone
    ]


def _size(sketch: Sketch, modules: set[str]) -> float:
    squares = (sketch.values[name].astype(np.float64) ** 2 for name in modules)
    return float(np.sqrt(sum(float(found.sum()) for found in squares)))


def _module_cosines(one: Floats, two: Floats, grid: Grid) -> Floats:
    """The cosine in each module, (modules,); 0 where one of them changes nothing."""
    count = len(grid.names)
    dots = np.bincount(grid.module, one * two, count)
    norms = np.bincount(grid.module, one * one, count) * np.bincount(grid.module, two * two, count)
    found: Floats = dots / np.sqrt(np.where(norms > 0, norms, np.inf))
    return found
