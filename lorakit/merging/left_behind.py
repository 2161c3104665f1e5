"""What a method cannot take along of changes without thin factors, and what its result misses by that.

Such a change comes in as its best approximation of a rank. What all of these leave behind, R, is a matrix of its
own, since two changes may leave the same behind. All sizes follow from inner products of R with thin factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import torch

from lorakit.merging.approximating import Approximation
from lorakit.merging.cores import gram_of
from lorakit.merging.factors import Factors, join

# Of the energy of what came in, about the square of ten roundings to float32: what is left of opposite changes.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class LeftBehind:
    """R (out, in), float32, None for nothing; `came_in` is the energy of the changes that it is left of."""

    matrix: torch.Tensor | None = None
    came_in: float = 0.0

    def and_of(self, change: torch.Tensor, found: Approximation) -> LeftBehind:
        """With what `found` misses of `change` (out, in), float32, as well."""
        came_in = self.came_in + found.energy
        if not found.lost:
            return LeftBehind(self.matrix, came_in)
        missing = torch.addmm(change, found.factors.up, found.factors.down, alpha=-1)
        return LeftBehind(missing if self.matrix is None else missing.add_(self.matrix), came_in)

    @property
    def energy(self) -> float:
        """‖R‖²; 0 where only rounding is left."""
        if self.matrix is None:
            return 0.0
        found = float(self.matrix.square().sum(dtype=torch.float64))
        return found if found > _ROUNDING * self.came_in else 0.0

    def of_sum(
        self, values: Sequence[float], whole: Factors, kept: Factors, scale: float = 1.0
    ) -> tuple[float, float]:
        """The squared norms of what was meant, M + s R, and of what is missing of it, M - K + s R: exact.

        `whole` is M = s Σ, the sum of what came in times s = `scale`, with the singular values `values`; `kept` is its
        best approximation K of some rank.
        """
        energy, dropped = _energies(values, kept)
        own = self.energy * scale**2
        if self.matrix is None or not own:
            return energy, dropped
        beside = scale * inner(whole, self.matrix)
        beside_dropped = beside - scale * inner(kept, self.matrix) if dropped else 0.0
        return max(energy + own + 2 * beside, 0.0), max(dropped + own + 2 * beside_dropped, 0.0)

    def of_inputs(
        self, inputs: Sequence[Factors], values: Sequence[float], kept: Factors
    ) -> tuple[float, float]:
        """As `of_sum`, where a method gives something else than the sum, and M + R means nothing.

        What is missing is taken as the share that R is of the plain sum Σ + R, to which the share that K lacks of M
        is added, as norms add up at most.
        """
        energy, dropped = _energies(values, kept)
        own = self.energy
        if self.matrix is None or not own or not energy:
            return energy, dropped
        came_in = own + float(gram_of(inputs).sum()) + 2 * inner(join(inputs), self.matrix)
        share = sqrt(own / came_in) if came_in > 0 else 1.0
        return energy, energy * (share + sqrt(dropped / energy)) ** 2


def inner(factors: Factors, matrix: torch.Tensor) -> float:
    """⟨up down, matrix⟩, summed in float64."""
    product = (factors.up.to(matrix.dtype).T @ matrix) * factors.down.to(matrix.dtype)
    return float(product.sum(dtype=torch.float64))


def _energies(values: Sequence[float], kept: Factors) -> tuple[float, float]:
    """Of singular values all squares, and those beyond the rank that is kept."""
    squares = [value * value for value in values]
    return fsum(squares), fsum(squares[kept.rank :])
