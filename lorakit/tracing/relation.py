"""Whether two models are the same, relatives, or strangers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorakit.formats import anima
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.grid import Grid, common_grid, with_blocks
from lorakit.tracing.rounding import agrees, on_format

# Weights of unrelated models have a cosine near zero, those of relatives one near one.
_RELATED = 0.5
_ALIKE = 0.05
# A few values may differ in the same weights: a cast by way of a third format, a tensor someone mended.
_SAME = 0.999
# A model made by training or merging some modules of its parent leaves the others as they were.
_UNTOUCHED = 0.05


@dataclass(frozen=True)
class Relation:
    """How two sketches stand to each other, over the modules that both have.

    `related` is the share of modules whose values point the same way, `equal` the share of values that
    may be the same numbers (None where that cannot be told), `distance` the size of the difference
    relative to the second, over the related modules.
    """

    modules: int
    values: int
    related: float
    equal: float | None
    distance: float

    @property
    def same(self) -> bool:
        """Whether both are the same weights, but for rounding."""
        return self.equal is not None and self.equal >= _SAME and self.related >= _SAME

    @property
    def strangers(self) -> bool:
        """Whether hardly any module is alike."""
        return self.related < _ALIKE


def relate(suspect: Sketch, known: Sketch) -> Relation:
    """How the weights of `suspect` stand to those of `known`."""
    suspect = with_blocks(suspect, known.blocks)
    grid = common_grid([known, suspect])
    if not grid.names:
        return Relation(0, 0, 0.0, None, np.inf)
    one, other = grid.take(suspect), grid.take(known)
    sizes = np.bincount(grid.module)
    dots = np.bincount(grid.module, one * other)
    norms = np.bincount(grid.module, one * one), np.bincount(grid.module, other * other)
    cosines = dots / np.sqrt(np.maximum(norms[0] * norms[1], 1e-300))
    alike = (cosines > _RELATED) | ((norms[0] == 0) & (norms[1] == 0))
    gaps = np.bincount(grid.module, (one - other) ** 2)
    filled = alike & (norms[1] > 0)
    distance = float(np.sqrt((gaps[filled] / norms[1][filled]).mean())) if filled.any() else np.inf
    return Relation(
        len(grid.names),
        int(sizes.sum()),
        float(alike.mean()),
        _equal(suspect, known, grid),
        distance,
    )


class Relations:
    """How one suspect stands to models, each looked at once."""

    def __init__(self, suspect: Sketch) -> None:
        self.suspect = suspect
        self._relations: dict[int, tuple[Sketch, Relation]] = {}
        self._modules: dict[int, tuple[Sketch, frozenset[str]]] = {}

    def to(self, model: Sketch) -> Relation:
        """How the suspect stands to `model`."""
        # The sketch is kept beside its number, which would be given anew otherwise.
        if id(model) not in self._relations:
            self._relations[id(model)] = model, relate(self.suspect, model)
        return self._relations[id(model)][1]

    def modules(self, model: Sketch) -> frozenset[str]:
        """The modules in which the two are alike."""
        if id(model) not in self._modules:
            self._modules[id(model)] = model, frozenset(related_modules(self.suspect, model))
        return self._modules[id(model)][1]


def untouched(made: Sketch, parent: Sketch) -> float:
    """The share of the blocks' modules that are the same in both, while others are not.

    A model that was made from `parent` by training some modules, or by merging a LoRA of them, leaves the
    others exactly as they were. Two relatives that were trained as a whole share none.
    """
    made = with_blocks(made, parent.blocks)
    grid = common_grid([parent, made])
    inside = np.array([anima.block_of(name) is not None for name in grid.names], dtype=bool)
    same = agrees(grid.take(made), grid.take(parent), (made.dtype, parent.dtype))
    if same is None or not inside.any():
        return 0.0
    whole = np.bincount(grid.module, ~same) == 0
    return float(whole[inside].mean()) if not whole[inside].all() else 0.0


def made_directly(made: Sketch, parent: Sketch) -> bool:
    """Whether `untouched` modules prove that `made` was made from exactly `parent`."""
    return untouched(made, parent) >= _UNTOUCHED


def related_modules(suspect: Sketch, known: Sketch) -> tuple[str, ...]:
    """The modules, by `known`'s names, in which the two are alike."""
    suspect = with_blocks(suspect, known.blocks)
    grid = common_grid([known, suspect])
    one, other = grid.take(suspect), grid.take(known)
    sizes = np.sqrt(grid.mean_square(one) * grid.mean_square(other))
    dots = np.bincount(grid.module, one * other, len(grid.names))
    counts = np.maximum(np.bincount(grid.module, minlength=len(grid.names)), 1)
    cosines = dots / counts / np.maximum(sizes, 1e-300)
    return tuple(
        name for name, cosine in zip(grid.names, cosines, strict=True) if cosine > _RELATED
    )


def _equal(suspect: Sketch, known: Sketch, grid: Grid) -> float | None:
    """The share of values that may be the same; None where a format's steps are not known."""
    one, other = grid.take(suspect), grid.take(known)
    if not (on_format(one, suspect.dtype) and on_format(other, known.dtype)):
        # A scaled 8-bit weight lies on no fixed steps; a sketch may also mix formats.
        exact = one == other
        return float(exact.mean()) if exact.mean() >= _SAME else None
    same = agrees(one, other, (suspect.dtype, known.dtype))
    return None if same is None else float(same.mean())
