"""Where in a suspect a known change is: by component, and by ranges of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lorakit.formats import anima
from lorakit.tracing.coefficient import Estimate

# Two neighbouring ranges are told apart at this many standard errors.
_APART = 4.0
_LEAST_APART = 0.03

# How much of a change there is in a set of modules.
Weigh = Callable[[set[str]], Estimate]


@dataclass(frozen=True)
class Part:
    """The strength of a change in one part, with its standard error.

    `name` is a component, or a range of blocks such as `3-27`.
    """

    name: str
    strength: float
    error: float


def by_component(modules: Sequence[str], weigh: Weigh) -> tuple[Part, ...]:
    """The strength in each component that has any of `modules`."""
    found = []
    for component in anima.COMPONENTS:
        inside = {name for name in modules if anima.component_of(name) == component}
        if inside:
            estimate = weigh(inside)
            found.append(Part(component, estimate.value, estimate.error))
    return tuple(found)


def by_blocks(modules: Sequence[str], weigh: Weigh) -> tuple[Part, ...]:
    """The strength in ranges of blocks: neighbours that do not differ are joined."""
    numbers = sorted({block for name in modules if (block := anima.block_of(name)) is not None})
    ranges: list[tuple[list[int], Estimate]] = []
    for number in numbers:
        ranges.append(([number], weigh(_inside(modules, {number}))))
    while True:
        gaps = [
            (_gap(ranges[i][1], ranges[i + 1][1]), i)
            for i in range(len(ranges) - 1)
            if ranges[i][0][-1] + 1 == ranges[i + 1][0][0]
        ]
        nearest = min(gaps, default=(_APART, -1))
        if nearest[0] >= _APART:
            break
        first = nearest[1]
        joined = ranges[first][0] + ranges[first + 1][0]
        ranges[first : first + 2] = [(joined, weigh(_inside(modules, set(joined))))]
    return tuple(Part(_name(blocks), estimate.value, estimate.error) for blocks, estimate in ranges)


def _inside(modules: Sequence[str], blocks: set[int]) -> set[str]:
    return {name for name in modules if anima.block_of(name) in blocks}


def _gap(one: Estimate, other: Estimate) -> float:
    """How many standard errors two estimates lie apart; 0 where it would not matter."""
    apart = abs(one.value - other.value)
    if apart < _LEAST_APART:
        return 0.0
    return float(apart / (one.error**2 + other.error**2) ** 0.5)


def _name(blocks: Sequence[int]) -> str:
    return str(blocks[0]) if len(blocks) == 1 else f"{blocks[0]}-{blocks[-1]}"
