"""What estimates need of an observed and a known change, summed over runs: the values are read once.

A style LoRA changes whole rows together, so the values within a run do not count as independent, and no
estimate needs more of a run than its sums.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from lorakit.tracing.arrays import Flags, Floats, Integers
from lorakit.tracing.grid import Grid

# Values are counted by how coarse rounding is next to the change: the step over the change's size in the
# module, in bounds a factor of the root of two apart. The last level counts all values.
_FINEST, _COARSEST = -12, 2
LEVELS = _COARSEST - _FINEST + 2
ALL = -1


@dataclass(frozen=True)
class Products:
    """Sums over the runs of a grid, for values up to each level of coarseness, all (levels, runs).

    `yd`, `dd` and `yy` are of products of the observed change y and the known one d, `count` is the number
    of values. Where no value is finer than another there is one level. `module` (runs,) numbers the
    module, of `names`, that a run belongs to.
    """

    names: tuple[str, ...]
    module: Integers
    yd: Floats
    dd: Floats
    yy: Floats
    count: Floats

    def of(self, names: Collection[str]) -> Products:
        """The same of the modules `names` alone."""
        chosen = self._runs(names)
        sums = {field: getattr(self, field)[:, chosen] for field in ("yd", "dd", "yy", "count")}
        return replace(self, module=self.module[chosen], **sums)

    def sign_z(self, parts: Integers) -> Floats:
        """How far the two agree, next to what they would if every run's sign was drawn by lot, (parts,).

        `parts` (modules,) numbers the part that each module is in. It costs next to nothing, and cannot
        exceed the root of the number of runs.
        """
        agreed, part = self.yd[ALL], parts[self.module]
        count = int(parts.max(initial=-1)) + 1
        sizes = np.sqrt(total(agreed**2, part, count))
        return total(agreed, part, count) / np.where(sizes > 0, sizes, 1.0)

    def _runs(self, names: Collection[str]) -> Flags:
        wanted = np.array([name in names for name in self.names], dtype=bool)
        return wanted[self.module] if len(self.names) else np.zeros(0, dtype=bool)


def products(observed: Floats, change: Floats, grid: Grid, steps: Integers | None) -> Products:
    """The sums of `observed` and `change`, both (n,) on `grid`.

    `steps` (n,) are the rounding steps of the weights that were changed, as exponents of two; without any,
    as in adapters, no value is finer than another.
    """
    if steps is None:
        return Products(
            grid.names,
            grid.module_of_run,
            _over_runs(observed * change, grid),
            _over_runs(change * change, grid),
            _over_runs(observed * observed, grid),
            grid.values_of_run[None],
        )
    runs = len(grid.module_of_run)
    bounds = level_bounds(np.sqrt(grid.mean_square(change)))
    cell = grid.run * LEVELS + levels_of(steps, bounds[grid.module])

    def summed(values: Floats | None) -> Floats:
        found = total(values, cell, runs * LEVELS).reshape(runs, LEVELS)
        return np.ascontiguousarray(np.cumsum(found, axis=1).T)

    return Products(
        grid.names,
        grid.module_of_run,
        summed(observed * change),
        summed(change * change),
        summed(observed * observed),
        summed(None),
    )


def _over_runs(values: Floats, grid: Grid) -> Floats:
    """The sums of `values` (n,) over runs, as one level: (1, runs)."""
    if not len(values):
        return np.zeros((1, 0))
    ends = np.cumsum(grid.values_of_run).astype(int)
    found: Floats = np.add.reduceat(values, np.concatenate([[0], ends[:-1]]))
    return found[None]


def level_of(coarseness: float) -> int:
    """The highest level whose values are at most so coarse."""
    return int(np.clip(np.floor(2 * np.log2(coarseness)) - _FINEST, 0, LEVELS - 2))


def total(values: Floats | None, group: Integers, count: int) -> Floats:
    """The sums of `values` over groups numbered up to `count`, (count,); how many there are if None."""
    return np.asarray(np.bincount(group, values, count), np.float64)


def level_bounds(sizes: Floats) -> Integers:
    """What is to be added to twice a step's exponent to give its level, for changes of `sizes`."""
    found: Integers = (np.ceil(-2 * np.log2(np.maximum(sizes, 1e-300))) - _FINEST).astype(int)
    return found


def levels_of(steps: Integers, bounds: Integers) -> Integers:
    """The level of values whose rounding steps have the exponents `steps`."""
    found: Integers = np.clip(2 * steps + bounds, 0, LEVELS - 1)
    return found
