"""What was observed, next to a known change: the arrays, and the estimates that come of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Floats, Integers
from lorakit.tracing.coefficient import Evidence
from lorakit.tracing.grid import Grid, common_grid, with_blocks
from lorakit.tracing.products import Products, products, total
from lorakit.tracing.rounding import step_exponent

# A module whose scale is further off than this has been rescaled, and is compared at its own scale.
_RESCALED = 0.05


@dataclass(frozen=True)
class Comparison:
    """An observed change and a known one, both float64 (n,) on `grid`.

    `steps` (n,) are the rounding steps of the weights that the known change was made to, as exponents of
    two; None for a change that was made to none, as in an adapter.
    """

    grid: Grid
    observed: Floats
    change: Floats
    steps: Integers | None

    @cached_property
    def evidence(self) -> Evidence:
        """The two, summed over runs."""
        plain = products(self.observed, self.change, self.grid, None)
        return Evidence(plain, None if self.steps is None else self._by_level)

    def _by_level(self) -> Products:
        return products(self.observed, self.change, self.grid, self.steps)


@dataclass(frozen=True)
class Gap:
    """What separates a suspect from a model, (n,) on `grid`, in modules in which they are related.

    `steps` are the distances between the model's numbers as bfloat16, as exponents of two.
    """

    model: Sketch
    grid: Grid
    observed: Floats
    steps: Integers

    def next_to(self, change: Sketch) -> Comparison:
        """The gap next to a known change, in the modules that it changes."""
        known = with_blocks(change, self.model.blocks).values
        sizes = {name: len(known[name]) for name in self.grid.names if name in known}
        part = self._part(frozenset(sizes.items()))
        wanted = part.grid.take(replace(change, values=known))
        return Comparison(part.grid, part.observed, wanted, part.steps)

    def _part(self, sizes: frozenset[tuple[str, int]]) -> Gap:
        """The same in modules of these sizes alone. Adapters are many, and most change the same modules."""
        if sizes not in self._parts:
            grid, chosen = self.grid.part(lambda name, size: (name, size) in sizes)
            self._parts[sizes] = Gap(self.model, grid, self.observed[chosen], self.steps[chosen])
        return self._parts[sizes]

    @cached_property
    def _parts(self) -> dict[frozenset[tuple[str, int]], Gap]:
        return {}


def gap_between(suspect: Sketch, model: Sketch, modules: Collection[str]) -> Gap:
    """What separates two whole models in `modules`, named as in `model`.

    A module that was multiplied by a number is compared at its own scale.
    """
    suspect = with_blocks(suspect, model.blocks)
    grid = common_grid([model, suspect], modules)
    before = grid.take(model)
    observed = _at_scale(grid.take(suspect), before, grid) - before
    return Gap(model, grid, observed, step_exponent(before, "BF16"))


def change_next_to(suspect: Sketch, change: Sketch, changed: Sketch | None = None) -> Comparison:
    """The change that the adapter `suspect` makes, next to a known one.

    `changed` are the weights that the known change was made to, where it is the difference of two
    checkpoints, which rounding has made coarse.
    """
    suspect = with_blocks(suspect, change.blocks)
    grid = common_grid([_filled(change, suspect), _filled(suspect, change)])
    steps = None
    if changed is not None:
        steps = step_exponent(grid.take(with_blocks(changed, change.blocks)), "BF16")
    return Comparison(grid, grid.take(suspect), grid.take(change), steps)


def _filled(sketch: Sketch, other: Sketch) -> Sketch:
    """`sketch` with zeros for the modules that only `other` changes."""
    absent = {
        name: np.zeros_like(values)
        for name, values in other.values.items()
        if name not in sketch.values
    }
    return replace(sketch, values={**sketch.values, **absent})


def own_scale(dots: Floats, norms: Floats) -> Floats:
    """What modules were multiplied by; 1 where that is so near that training may have done it.

    `dots` are the products of the weights after and before, `norms` the squares of those before.
    """
    scale = np.where(norms > 0, dots / np.maximum(norms, 1e-300), 1.0)
    rescaled = (np.abs(scale - 1) > _RESCALED) & (np.abs(scale) > _RESCALED)
    return np.where(rescaled, scale, 1.0)


def _at_scale(after: Floats, before: Floats, grid: Grid) -> Floats:
    dots = total(after * before, grid.module, len(grid.names))
    norms = total(before * before, grid.module, len(grid.names))
    scaled: Floats = after / own_scale(dots, norms)[grid.module]
    return scaled
