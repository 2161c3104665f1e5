"""The best approximation of a Kronecker product, from the singular values of its sides alone.

With first = U S Vᵀ and second = X T Yᵀ, first ⊗ second = (U ⊗ X)(S ⊗ T)(V ⊗ Y)ᵀ is already a singular value
decomposition (Van Loan, J. Comput. Appl. Math. 123, 2000), so no matrix of the weight's size is needed.
"""

from __future__ import annotations

import torch

from lorakit.adapters.lokr import LokrModule, factor
from lorakit.merging.approximating import Approximation
from lorakit.merging.factors import Factors
from lorakit.merging.ranks import RankRule, lost, rank_for

# Next to the largest singular value, what float64 leaves where there is none.
_NOTHING = 1e-12


def approximate_kronecker(module: LokrModule, strength: float, rule: RankRule) -> Approximation:
    """Factors of `strength` times the change with the rank that `rule` asks for: exactly the best."""
    like = torch.zeros((), dtype=torch.float64)
    sides = [factor(module.parts, side, like) for side in "12"]
    (u, s, vh), (x, t, yh) = (torch.linalg.svd(side, full_matrices=False) for side in sides)
    scale = strength * module.parts.scale
    found, order = torch.sort(
        torch.outer(s, t).flatten() * abs(scale), descending=True, stable=True
    )
    # A side stored as a product has fewer directions than the shape of the side suggests.
    values = found[: max(1, int((found > _NOTHING * found[0]).sum()))].tolist()
    kept = rank_for(values, rule)
    one, other = order[:kept] // len(t), order[:kept] % len(t)
    share = found[:kept].sqrt()
    up = _paired(u.T[one], x.T[other]).T * (share if scale >= 0 else -share)
    down = _paired(vh[one], yh[other]) * share[:, None]
    energy = sum(value * value for value in values)
    factors = Factors(up.float().contiguous(), down.float())
    return Approximation(factors, energy, lost(values, kept) ** 2)


def _paired(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Row by row the Kronecker product of two vectors: (k, a) and (k, b) become (k, a b)."""
    return (first[:, :, None] * second[:, None, :]).flatten(1)
