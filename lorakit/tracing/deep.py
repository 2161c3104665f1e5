"""Find an adapter in a checkpoint whose relatives are all unknown, from every weight of it.

Sampled values see a change only where the weights that it was added to are known. Without them the
checkpoint's own weights are the noise, a hundred times larger, and it takes all of them to see through it:
for a module of weights S and a delta with the singular vectors u_j, v_j and values s_j,

    M_jk = u_j' S v_k,    found = sum_j s_j M_jj / sum_j s_j^2

where each M_jk beside the diagonal is what chance alone gives: u_j and v_k are as much at home in S as u_j
and v_j are, but u_j v_k' is no part of the delta. They are the null distribution, at no further cost. The
module's weight in the sum is one over the mean square of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from lorakit.adapters.adapter import Adapter
from lorakit.sketches.adapters import WeightOf
from lorakit.tracing.arrays import Floats

_NULLS = 1000


@dataclass(frozen=True)
class DeepEstimate:
    """The coefficient of an adapter in a checkpoint with its standard error.

    `largest_null` is the largest coefficient among `nulls` deltas made of the same singular vectors paired
    anew; `modules` is how many modules were read.
    """

    value: float
    error: float
    largest_null: float
    nulls: int
    modules: int

    @property
    def z(self) -> float:
        """How many standard errors the coefficient lies from zero."""
        return self.value / self.error


def deep_estimate(
    adapter: Adapter,
    weight_of: WeightOf,
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> DeepEstimate | None:
    """How much of `adapter` is in the weights that `weight_of` gives.

    Modules that are not of low rank, or have no weight, are passed over; None when none is left.
    """
    products = list(_products(adapter, weight_of, on_progress))
    if not products:
        return None
    noise = np.array([_noise(matrix, singular) for matrix, singular in products])
    sizes = np.array([float((singular**2).sum()) for _, singular in products])
    weights = 1 / np.maximum(noise, 1e-30)
    total = float((weights * sizes).sum())
    found = [float((np.diag(matrix) * singular).sum()) for matrix, singular in products]
    value = float((weights * np.array(found)).sum()) / total
    nulls = _paired_anew(products, weights) / total
    return DeepEstimate(value, total**-0.5, float(np.abs(nulls).max()), len(nulls), len(products))


def _products(
    adapter: Adapter,
    weight_of: WeightOf,
    on_progress: Callable[[int, int, str], None],
) -> Iterator[tuple[Floats, Floats]]:
    """M (rank, rank) and the singular values (rank,) of each module, in float64."""
    for done, (name, module) in enumerate(adapter.modules.items(), start=1):
        factors = module.low_rank()
        weight = weight_of(name) if factors is not None else None
        if factors is not None and weight is not None and weight.ndim == 2:
            up, down = factors.up.float() * factors.scale, factors.down.float()
            left, upper = torch.linalg.qr(up)
            right, lower = torch.linalg.qr(down.T)
            inner = torch.linalg.svd(upper @ lower.T)
            u, v = left @ inner.U, right @ inner.Vh.T
            matrix = u.T @ (weight.float() @ v)
            kept = 1e-6 * inner.S.max() < inner.S
            if int(kept.sum()) > 1:
                yield matrix[kept][:, kept].double().numpy(), inner.S[kept].double().numpy()
        on_progress(done, len(adapter.modules), name)


def _noise(matrix: Floats, singular: Floats) -> float:
    """The mean square of what chance gives in a module: of M beside its diagonal."""
    beside = matrix[~np.eye(len(singular), dtype=bool)]
    return float((beside**2).mean())


def _paired_anew(products: list[tuple[Floats, Floats]], weights: Floats) -> Floats:
    """What is found of deltas with the same singular values, and vectors that do not belong together."""
    draw = np.random.default_rng(0)
    sums = np.zeros(_NULLS)
    for (matrix, singular), weight in zip(products, weights, strict=True):
        rank = len(singular)
        order = draw.permuted(np.tile(np.arange(rank), (_NULLS, 1)), axis=1)
        # A cyclic shift of a random order pairs no vector with its own.
        left, right = order, np.roll(order, 1, axis=1)
        signs = draw.choice((-1.0, 1.0), size=(_NULLS, rank))
        sums += weight * (
            signs * matrix[left, right] * np.sqrt(singular[left] * singular[right])
        ).sum(1)
    return sums
