"""Modules taken together: by component, kind and block, and what is known of each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch

from lorakit.formats import anima
from lorakit.merging.checking.measuring import Measured

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Group:
    """Some modules, and k entries.

    `gram` (k, k) holds the inner products of the entries' changes there at a base strength of 1, so the
    energy of the sum at strengths w is wᵀ gram w. `chance` are the variances that those products would
    have between strangers (`Measured.chance`); `turns` those that they would have if every module's sign were drawn by lot. `base` is ‖W‖² of
    the base there, None where it is not known.
    """

    name: str
    modules: int
    gram: Matrix
    chance: Matrix
    turns: Matrix
    base: float | None

    def size(self, at: int, strength: float) -> float:
        """‖strength Δ‖ of entry `at`."""
        return abs(strength) * sqrt(max(self.gram[at][at], 0.0))

    def sum_size(self, strengths: Sequence[float]) -> float:
        """‖Σ w Δ‖ at the strengths w."""
        rows = zip(strengths, self.gram, strict=True)
        energy = sum(w * sum(v * g for v, g in zip(strengths, row, strict=True)) for w, row in rows)
        return sqrt(max(energy, 0.0))

    def apart_size(self, strengths: Sequence[float]) -> float:
        """What `sum_size` would be if no two entries had anything in common."""
        return sqrt(sum(self.size(at, w) ** 2 for at, w in enumerate(strengths)))

    def cosine(self, one: int, other: int) -> float | None:
        """The cosine of two entries' changes, None where one changes nothing here."""
        return self._relative(self.gram[one][other], one, other)

    def by_chance(self, one: int, other: int) -> float | None:
        """The standard error of a cosine between strangers here."""
        return self._relative(sqrt(self.chance[one][other]), one, other)

    def by_turns(self, one: int, other: int) -> float | None:
        """The standard error of the cosine if the modules did not agree on its sign."""
        return self._relative(sqrt(self.turns[one][other]), one, other)

    def _relative(self, value: float, one: int, other: int) -> float | None:
        product = self.size(one, 1.0) * self.size(other, 1.0)
        return value / product if product else None


def group(
    name: str,
    measured: Measured,
    chosen: Sequence[int],
    norms: Mapping[str, float] | None,
    belongs: Callable[[str], bool],
) -> Group:
    """The modules at the places `chosen`, together.

    The base's part is all its matrices that belong there, changed or not, so that it is the same for every
    stack; an embedding counts only where it is changed, being many times as large as what is trained.
    """
    at = torch.tensor(list(chosen), dtype=torch.long)
    units = measured.units[at]
    grams = measured.grams[at] * units[:, :, None] * units[:, None, :]
    chance = measured.chance[at] * (units[:, :, None] * units[:, None, :]).square()
    names = {measured.names[place] for place in chosen}
    known = norms is not None and bool(names) and names <= norms.keys()
    base = (
        sum(
            norm**2
            for module, norm in norms.items()
            if module in names or (belongs(module) and not anima.is_embedding(module))
        )
        if known and norms is not None
        else None
    )
    return Group(
        name,
        len(names),
        _matrix(grams.sum(0)),
        _matrix(chance.sum(0)),
        _matrix(grams.square().sum(0)),
        base,
    )


def groups_by(
    key: Callable[[str], str | None],
    order: Sequence[str],
    measured: Measured,
    norms: Mapping[str, float] | None,
) -> tuple[Group, ...]:
    """The groups that `key` puts modules into, those of `order` that hold any; None belongs to none."""
    places: dict[str, list[int]] = {}
    for place, module in enumerate(measured.names):
        name = key(module)
        if name is not None:
            places.setdefault(name, []).append(place)
    return tuple(
        group(name, measured, places[name], norms, partial(_has_key, key, name))
        for name in order
        if name in places
    )


def _has_key(key: Callable[[str], str | None], wanted: str, module: str) -> bool:
    return key(module) == wanted


def kind_key(module: str) -> str | None:
    """The kind of a module in a block; the component of what lies outside the blocks, but for the
    transformer's own, which are `root`."""
    return anima.kind_or_component(module)


def block_key(module: str) -> str | None:
    """The number of the block."""
    block = anima.block_of(module)
    return None if block is None else str(block)


def _matrix(values: torch.Tensor) -> Matrix:
    return tuple(tuple(row) for row in values.tolist())
