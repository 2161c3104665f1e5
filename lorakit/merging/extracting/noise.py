"""How many components of a difference are wanted: a number, a share, or those that rise above rounding.

Rounding adds noise of known size to every weight, and a matrix of noise alone has singular values up to
(√out + √in) σ; what lies below cannot be told from it. Those above Gavish and Donoho's optimal hard threshold
for known noise are kept (arXiv:1305.5870, equation 11).
"""

from __future__ import annotations

from math import sqrt

import torch

from lorakit.merging.extracting.differences import Difference
from lorakit.merging.range_finding import RankFrom
from lorakit.merging.ranks import Energy, Rank

# Singular values below this share of the largest are what float32 arithmetic leaves.
_ARITHMETIC = 1e-6
# Squares summed in float32 within a row are exact to about this share.
_SUMS = 1e-7


def rank_from(difference: Difference, rule: Rank | Energy | None) -> RankFrom:
    """What `largest_triplets` asks: how many of the values found so far are wanted, None for more."""

    def wanted(values: torch.Tensor) -> int | None:
        squares = values.double().square()
        there = int((values > _ARITHMETIC * values[:1]).sum())
        if isinstance(rule, Rank):
            return min(rule.count, there)
        above = above_rounding(squares, difference)
        found = None if above == len(values) else above
        if isinstance(rule, Energy):
            enough = squares.cumsum(0) >= rule.share * difference.energy
            if bool(enough.any()):
                share = int(enough.to(torch.int8).argmax()) + 1
                found = share if found is None else min(share, found)
        return found if found is None else min(found, there)

    return wanted


def above_rounding(squares: torch.Tensor, difference: Difference) -> int:
    """How many of the squared singular values `squares`, the largest first, rise above rounding.

    The noise is that of rounding both checkpoints, or what is left beyond the values kept, whichever is
    less: a base that the other was made from as it is stored adds none.
    """
    rows, columns = difference.delta.shape
    variance = sum(difference.rounding)
    kept = -1
    while True:
        found = int((squares > threshold(rows, columns) ** 2 * variance).sum())
        if found <= kept or found == len(squares):
            return max(found, kept)
        kept = found
        left = difference.energy - float(squares[:kept].sum())
        left = max(left, _SUMS * difference.energy)
        room = max(1, (rows - kept) * (columns - kept))
        variance = min(variance, left / room)


def threshold(rows: int, columns: int) -> float:
    """Gavish and Donoho's τ for noise of deviation 1, where singular values are worth keeping."""
    small, large = sorted((rows, columns))
    ratio = small / large
    root = sqrt(ratio**2 + 14 * ratio + 1)
    return sqrt(2 * (ratio + 1) + 8 * ratio / (ratio + 1 + root)) * sqrt(large)
