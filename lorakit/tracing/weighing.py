"""The decision: whether a known change is in a suspect, from one coefficient.

The thresholds are about what can be told apart, and hold for every model: five standard errors for "it is
there" (one chance in three million where it is not), and a part below a twentieth, at two standard
errors, for "it is not". What lies between is undecided. `bench/trace.py` measures both kinds of error.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Floats
from lorakit.tracing.coefficient import Estimate, estimate
from lorakit.tracing.grid import Grid, common_grid, with_blocks

Answer = Literal["there", "opposite", "unclear", "not there"]

CERTAIN = 5.0
# Unrelated models may share a hundredth of a direction; that is no ingredient.
_FAINT = 0.03
_NOTHING = 0.05
_AT_ERRORS = 2.0
# A module whose scale is further off than this has been rescaled, and is compared at its own scale.
_RESCALED = 0.05


def weigh_weights(
    suspect: Sketch, reference: Sketch, change: Sketch, modules: Collection[str]
) -> tuple[Estimate, Grid]:
    """How much of `change` lies between `reference` and `suspect`, in those `modules`.

    Both are whole models; a module that was multiplied by a number is compared at its own scale.
    """
    grid, observed, wanted = observed_in(suspect, reference, change, modules)
    return estimate(observed, wanted, grid, grid.take(reference)), grid


def observed_in(
    suspect: Sketch, reference: Sketch, change: Sketch, modules: Collection[str]
) -> tuple[Grid, Floats, Floats]:
    """The grid on which all three are known, what separates the two models there, and `change`."""
    grid = common_grid(_aligned(change, reference, suspect), modules)
    before = grid.take(reference)
    after = _at_scale(grid.take(with_blocks(suspect, reference.blocks)), before, grid)
    return grid, after - before, grid.take(with_blocks(change, reference.blocks))


def weigh_change(
    suspect: Sketch, change: Sketch, changed: Sketch | None = None
) -> tuple[Estimate, Grid]:
    """How much of `change` is in the change that `suspect` makes; both as of adapters.

    `changed` are the weights that `change` was made to, where it is the difference of two checkpoints,
    which rounding has made coarse.
    """
    suspect = with_blocks(suspect, change.blocks)
    grid = common_grid([_filled(change, suspect), _filled(suspect, change)])
    weights = None if changed is None else grid.take(with_blocks(changed, change.blocks))
    return estimate(grid.take(suspect), grid.take(change), grid, weights), grid


def answer(found: Estimate) -> Answer:
    """What an estimate says of the change being there."""
    part = max(found.kept, found.share, key=abs)
    if abs(found.z) >= CERTAIN:
        if abs(part) < _FAINT:
            return "not there"
        return "there" if part > 0 else "opposite"
    at_most = max(found.kept, 0.0) + _AT_ERRORS * found.kept_error
    return "not there" if found.count and at_most < _NOTHING else "unclear"


def answer_of_change(found: Estimate) -> Answer:
    """The same for an adapter, whose own scale is arbitrary: the direction alone counts."""
    if abs(found.z) >= CERTAIN:
        if max(abs(found.share), abs(found.kept)) < _FAINT:
            return "not there"
        return "there" if found.share > 0 else "opposite"
    at_most = max(found.share, 0.0) + _AT_ERRORS * found.share_error
    return "not there" if at_most < _NOTHING else "unclear"


def _aligned(change: Sketch, reference: Sketch, suspect: Sketch) -> list[Sketch]:
    return [
        with_blocks(change, reference.blocks),
        reference,
        with_blocks(suspect, reference.blocks),
    ]


def _filled(sketch: Sketch, other: Sketch) -> Sketch:
    """`sketch` with zeros for the modules that only `other` changes."""
    absent = {
        name: np.zeros_like(values)
        for name, values in other.values.items()
        if name not in sketch.values
    }
    return replace(sketch, values={**sketch.values, **absent})


def _at_scale(after: Floats, before: Floats, grid: Grid) -> Floats:
    dots = np.bincount(grid.module, after * before, len(grid.names))
    norms = np.bincount(grid.module, before * before, len(grid.names))
    scale = np.where(norms > 0, dots / np.maximum(norms, 1e-300), 1.0)
    scale = np.where((np.abs(scale - 1) > _RESCALED) & (np.abs(scale) > _RESCALED), scale, 1.0)
    scaled: Floats = after / scale[grid.module]
    return scaled
