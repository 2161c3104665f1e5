"""The best approximation of a wanted rank to a change that is a matrix in full."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.merging.factors import Factors, of_matrix
from lorakit.merging.range_finding import RankFrom, largest_triplets
from lorakit.merging.ranks import Rank, RankRule, SvRatio, rank_for

_FIRST = 64
# The square of a relative error of about ten roundings to float32.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Approximation:
    """Factors in float32, the energy of what they stand for, and the energy that they miss."""

    factors: Factors
    energy: float
    lost: float


def approximate(matrix: torch.Tensor, rule: RankRule, seed: int = 0) -> Approximation:
    """Factors of `matrix` (out, in), float32, with the rank that `rule` asks for, their size shared evenly.

    The largest singular values are found by subspace iteration, which may miss a little more than the
    best would. What is missed is measured, not estimated; what only float32 misses counts as nothing.
    """
    energy = float(matrix.square().sum(dtype=torch.float64))
    if isinstance(rule, Rank) and rule.count >= min(matrix.shape):
        return Approximation(of_matrix(matrix), energy, 0.0)
    first = rule.count if isinstance(rule, Rank) else _FIRST
    found = largest_triplets(
        matrix,
        _counting(rule, energy, min(matrix.shape)),
        first=first,
        most=first if isinstance(rule, Rank) else min(matrix.shape),
        seed=seed,
    )
    share = found.s.sqrt()
    factors = Factors(found.u * share, (found.v * share).T.contiguous())
    missing = torch.addmm(matrix, factors.up, factors.down, alpha=-1)
    lost = float(missing.square().sum(dtype=torch.float64))
    return Approximation(factors, energy, lost if lost > _ROUNDING * energy else 0.0)


def _counting(rule: RankRule, energy: float, whole: int) -> RankFrom:
    """How many of the singular values found so far `rule` wants; None while it wants more."""

    def count(found: torch.Tensor) -> int | None:
        values = found.tolist()
        if isinstance(rule, Rank) or len(values) == whole:
            return rank_for(values, rule)
        # The rest counts as one more value, so that shares are those of the whole energy.
        rest = max(0.0, energy - sum(value * value for value in values)) ** 0.5
        kept = rank_for(values if isinstance(rule, SvRatio) else [*values, rest], rule)
        enough = kept < len(values) if isinstance(rule, SvRatio) else kept <= len(values)
        return kept if enough else None

    return count
