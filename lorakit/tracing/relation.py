"""Whether two models are the same, relatives, or strangers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from lorakit.formats import anima
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Flags, Floats
from lorakit.tracing.comparison import Gap, gap_between
from lorakit.tracing.grid import Grid, common_grid, with_blocks
from lorakit.tracing.products import total
from lorakit.tracing.rounding import agrees, on_format

# Weights of unrelated models have a cosine near zero, those of relatives one near one.
_RELATED = 0.5
_ALIKE = 0.05
# A few values may differ in the same weights: a cast by way of a third format, a tensor someone mended.
_SAME = 0.999
# A model made by training or merging some modules of its parent leaves the others as they were.
UNTOUCHED = 0.05
# Every so many values tell whether all lie on a format's steps.
_SPARSE = 16

_T = TypeVar("_T")


@dataclass(frozen=True)
class Relation:
    """How two sketches stand to each other, over the modules that both have.

    `related` is the share of modules whose values point the same way, `equal` the share of values that
    may be the same numbers (None where that cannot be told), `distance` the size of the difference
    relative to the second, over the related modules. `alike` names the related modules as the second
    does, `unchanged` those that are the same but for rounding, and `untouched` is the share of the
    blocks' modules that are, while others are not.
    """

    modules: int
    values: int
    related: float
    equal: float | None
    distance: float
    alike: frozenset[str] = field(repr=False)
    unchanged: frozenset[str] = field(repr=False)
    untouched: float

    @property
    def same(self) -> bool:
        """Whether both are the same weights, but for rounding."""
        return self.equal is not None and self.equal >= _SAME and self.related >= _SAME

    @property
    def strangers(self) -> bool:
        """Whether hardly any module is alike."""
        return self.related < _ALIKE

    @property
    def direct(self) -> bool:
        """Whether untouched modules prove that one was made from exactly the other.

        A model that was made by training some modules, or by merging a LoRA of them, has the others
        exactly as they were. Two relatives that were trained as a whole share none.
        """
        return self.untouched >= UNTOUCHED


def relate(one: Sketch, other: Sketch) -> Relation:
    """How the weights of `one` stand to those of `other`."""
    one = with_blocks(one, other.blocks)
    grid = common_grid([other, one])
    if not grid.names:
        return Relation(0, 0, 0.0, None, np.inf, frozenset(), frozenset(), 0.0)
    a, b = grid.take(one), grid.take(other)
    cosines, own, gaps = _by_module(a, b, grid)
    close = cosines > _RELATED
    related = close | np.isnan(cosines)
    filled = close & (own > 0)
    distance = float(np.sqrt((gaps[filled] / own[filled]).mean())) if filled.any() else np.inf
    same = agrees(a, b, (one.dtype, other.dtype))
    unchanged = _whole(same, grid)
    return Relation(
        len(grid.names),
        len(a),
        float(related.mean()),
        _equal(a, b, (one.dtype, other.dtype), same),
        distance,
        _named(grid, close),
        unchanged,
        _untouched(grid, unchanged),
    )


class Relations:
    """How models stand to one another, each pair looked at once."""

    def __init__(self) -> None:
        self._relations: dict[tuple[int, int], tuple[Sketch, Sketch, Relation]] = {}
        self._gaps: dict[tuple[int, int], tuple[Sketch, Sketch, Gap]] = {}

    def between(self, one: Sketch, other: Sketch) -> Relation:
        """How `one` stands to `other`."""
        return _kept(self._relations, one, other, relate)

    def gap(self, one: Sketch, model: Sketch) -> Gap:
        """What separates `one` from `model`, in the modules in which they are alike."""
        return _kept(
            self._gaps,
            one,
            model,
            lambda a, b: gap_between(a, b, self.between(a, b).alike),
        )


def _kept(
    found: dict[tuple[int, int], tuple[Sketch, Sketch, _T]],
    one: Sketch,
    other: Sketch,
    make: Callable[[Sketch, Sketch], _T],
) -> _T:
    """What is kept of a pair. The sketches are kept beside their numbers, which would be given anew."""
    key = id(one), id(other)
    if key not in found:
        found[key] = one, other, make(one, other)
    return found[key][2]


def _by_module(a: Floats, b: Floats, grid: Grid) -> tuple[Floats, Floats, Floats]:
    """Cosine, the square of the second's size and that of the gap, each (modules,).

    The cosine of two modules of zeros is no number.
    """
    dots, gaps = (total(x, grid.module, len(grid.names)) for x in (a * b, (a - b) ** 2))
    norms = [total(x * x, grid.module, len(grid.names)) for x in (a, b)]
    empty = (norms[0] == 0) & (norms[1] == 0)
    cosines = dots / np.sqrt(np.maximum(norms[0] * norms[1], 1e-300))
    return np.where(empty, np.nan, cosines), norms[1], gaps


def _equal(a: Floats, b: Floats, dtypes: tuple[str, str], same: Flags | None) -> float | None:
    """The share of values that may be the same; None where a format's steps are not known."""
    if not (on_format(a[::_SPARSE], dtypes[0]) and on_format(b[::_SPARSE], dtypes[1])):
        # A scaled 8-bit weight lies on no fixed steps; a sketch may also mix formats.
        exact = float((a == b).mean())
        return exact if exact >= _SAME else None
    return None if same is None else float(same.mean())


def _whole(same: Flags | None, grid: Grid) -> frozenset[str]:
    """The modules of which all values are the same."""
    if same is None:
        return frozenset()
    return _named(grid, np.bincount(grid.module, ~same, len(grid.names)) == 0)


def _named(grid: Grid, chosen: Flags) -> frozenset[str]:
    return frozenset(name for name, one in zip(grid.names, chosen, strict=True) if one)


def _untouched(grid: Grid, unchanged: frozenset[str]) -> float:
    inside = [name for name in grid.names if anima.block_of(name) is not None]
    count = len(unchanged.intersection(inside))
    return count / len(inside) if count < len(inside) else 0.0
