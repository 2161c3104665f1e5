"""The places where several sketches can be compared, as flat arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from lorakit.formats import anima
from lorakit.formats.variants import SIZES, block_map
from lorakit.sketches.positions import RUN
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Flags, Floats, Integers


@dataclass(frozen=True)
class Grid:
    """Modules that several sketches have with equally many values, one after the other.

    `module` and `run` number, for each of the n values, the module and the run of neighbouring weights
    that it belongs to, both (n,).
    """

    names: tuple[str, ...]
    module: Integers
    run: Integers

    @cached_property
    def module_of_run(self) -> Integers:
        """The number of the module that each run belongs to, (runs,)."""
        sizes = np.bincount(self.module, minlength=len(self.names))
        return np.repeat(np.arange(len(self.names)), -(-sizes // RUN))

    @cached_property
    def values_of_run(self) -> Floats:
        """How many values each run has, (runs,)."""
        return np.bincount(self.run, minlength=len(self.module_of_run)).astype(np.float64)

    def take(self, sketch: Sketch) -> Floats:
        """The values of `sketch` on this grid, float64 (n,); a module that it lacks is zero."""
        if not self.names:
            return np.zeros(0)
        sizes = np.bincount(self.module, minlength=len(self.names))
        zeros = np.zeros(int(sizes.max()), dtype=np.float32)
        parts = [
            sketch.values[name] if _fits(sketch.values, name, size) else zeros[:size]
            for name, size in zip(self.names, sizes, strict=True)
        ]
        return np.concatenate(parts).astype(np.float64)

    def mean_square(self, values: Floats) -> Floats:
        """The mean square of `values` in each module, (modules,)."""
        sizes = np.maximum(np.bincount(self.module, minlength=len(self.names)), 1)
        squares: Floats = np.bincount(self.module, values * values, len(self.names)) / sizes
        return squares

    def part(self, wanted: Callable[[str, int], bool]) -> tuple[Grid, Flags]:
        """The grid of the modules that are `wanted`, by name and size, and which of the n values it has."""
        sizes = np.bincount(self.module, minlength=len(self.names))
        chosen = np.array(
            [wanted(name, int(size)) for name, size in zip(self.names, sizes, strict=True)],
            dtype=bool,
        )
        flags = chosen[self.module] if len(self.names) else np.zeros(0, dtype=bool)
        if chosen.all():
            return self, flags
        names = tuple(name for name, kept in zip(self.names, chosen, strict=True) if kept)
        there = np.zeros(int(self.run[-1]) + 1, dtype=bool)
        there[self.run[flags]] = True
        module = (np.cumsum(chosen) - 1)[self.module[flags]]
        run = (np.cumsum(there) - 1)[self.run[flags]]
        return Grid(names, module, run), flags


def common_grid(sketches: Iterable[Sketch], only: Iterable[str] | None = None) -> Grid:
    """The grid of the modules that all `sketches` have, of those in `only` where it is given."""
    holders = list(sketches)
    first = holders[0].values
    wanted = first if only is None else set(only)
    names = [
        name
        for name, values in first.items()
        if name in wanted and all(_fits(other.values, name, len(values)) for other in holders[1:])
    ]
    return _grid(tuple(names), tuple(len(first[name]) for name in names))


@lru_cache(maxsize=16)
def _grid(names: tuple[str, ...], sizes: tuple[int, ...]) -> Grid:
    """The grid of modules of these sizes; models of one family have the same ones again and again."""
    lengths = np.array(sizes, dtype=int)
    runs = -(-lengths // RUN)
    module = np.repeat(np.arange(len(names)), lengths)
    # What precedes a module, in values and in runs.
    before, runs_before = np.cumsum(lengths) - lengths, np.cumsum(runs) - runs
    run = (np.arange(len(module)) - before[module]) // RUN + runs_before[module]
    return Grid(names, module, run)


def with_blocks(sketch: Sketch, blocks: int) -> Sketch:
    """`sketch` under the block numbers of a relative with more blocks, or with fewer.

    Anima's larger models hold the smaller one's blocks under other numbers (`formats.variants`); what
    has no counterpart is left out. Sizes that are no published ones are returned as they are.
    """
    if sketch.blocks == blocks or not {sketch.blocks, blocks} <= set(SIZES):
        return sketch
    if sketch.blocks < blocks:
        numbers = dict(enumerate(block_map(sketch.blocks, blocks)))
    else:
        carried = block_map(blocks, sketch.blocks)
        numbers = {larger: smaller for smaller, larger in enumerate(carried)}
    values: dict[str, Floats] = {}
    for name, found in sketch.values.items():
        block = anima.block_of(name)
        if block is None:
            values[name] = found
        elif block in numbers:
            rest = name.split(".", 2)[2]
            values[f"blocks.{numbers[block]}.{rest}"] = found
    return replace(sketch, values=values, blocks=blocks)


def difference(one: Sketch, other: Sketch) -> Sketch:
    """The change from `other` to `one`, where both have values; modules without change left out."""
    other = with_blocks(other, one.blocks)
    grid = common_grid([one, other])
    changes = {name: one.values[name] - other.values[name] for name in grid.names}
    return replace(one, values={name: change for name, change in changes.items() if change.any()})


def _fits(values: Mapping[str, Any], name: str, size: int) -> bool:
    return name in values and len(values[name]) == size
