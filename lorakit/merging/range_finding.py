"""The best approximation of low rank of a matrix that is there in full, without its whole decomposition.

Halko, Martinsson and Tropp, arXiv:0909.4061, algorithms 4.4 and 5.1: an orthonormal basis Q of the range of
A Ω, for random Ω, is improved by going through A and Aᵀ until what it holds grows no more. Each pass tells
the singular values that are held so far, and ‖A - Q Qᵀ A‖² = ‖A‖² - ‖Qᵀ A‖² says exactly what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

# Columns beyond the rank that is looked for.
_SPARE = 16
# A pass that adds less than this share of the energy is the last.
_SETTLED = 1e-4
_MOST_PASSES = 8
# Below so many rows or columns a whole decomposition is as fast.
_SMALL = 160

# How many of the singular values found so far, the largest first, are wanted; None when more are needed.
RankFrom = Callable[[torch.Tensor], int | None]


@dataclass(frozen=True)
class Triplets:
    """The largest singular values s (k,) of a matrix with u (out, k) and v (in, k), float32, descending."""

    u: torch.Tensor
    s: torch.Tensor
    v: torch.Tensor


def largest_triplets(
    matrix: torch.Tensor, rank_from: RankFrom, *, first: int, most: int, seed: int
) -> Triplets:
    """The largest singular triplets of `matrix` (out, in), float32, as many as `rank_from` wants.

    Begins with `first` and takes twice as many while `rank_from` says that they do not suffice, up to
    `most`. The same matrix and `seed` give the same triplets on the same machine.
    """
    smaller = min(matrix.shape)
    most = min(most, smaller)
    if smaller <= _SMALL:
        found = _whole(matrix)
        wanted = rank_from(found.s)
        return _first(found, min(most, smaller if wanted is None else wanted))
    generator = torch.Generator().manual_seed(seed)
    right = matrix.new_empty(matrix.shape[1], 0)
    count = min(first, most)
    while True:
        columns = min(count + _SPARE, smaller)
        fresh = torch.randn(matrix.shape[1], columns - right.shape[1], generator=generator).to(
            matrix
        )
        found = _iterated(matrix, torch.cat([right, fresh], 1), count)
        wanted = rank_from(found.s[:count])
        if wanted is not None or count == most:
            return _first(found, count if wanted is None else wanted)
        right, count = found.v, min(2 * count, most)


def _iterated(matrix: torch.Tensor, right: torch.Tensor, count: int) -> Triplets:
    """Subspace iteration from the columns `right` (in, k) until the `count` largest values have settled."""
    before = 0.0
    for _ in range(_MOST_PASSES):
        left = torch.linalg.qr(matrix @ right).Q
        right, core = torch.linalg.qr((left.T @ matrix).T)
        # A ≈ Q (Qᵀ A) = left core' right', whose singular values are those of the small core.
        values = torch.linalg.svdvals(core.double())
        held = float((values[:count] ** 2).sum())
        if held - before <= _SETTLED * held:
            break
        before = held
    inner = torch.linalg.svd(core.T.double())
    return Triplets(left @ inner.U.float(), inner.S.float(), right @ inner.Vh.T.float())


def _whole(matrix: torch.Tensor) -> Triplets:
    found = torch.linalg.svd(matrix.double(), full_matrices=False)
    return Triplets(found.U.float(), found.S.float(), found.Vh.T.float())


def _first(found: Triplets, count: int) -> Triplets:
    return Triplets(found.u[:, :count], found.s[:count], found.v[:, :count])
