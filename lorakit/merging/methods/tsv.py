"""Task Singular Vectors Merging, TSV-M (Gargiulo et al., arXiv:2412.00081).

With Δ_t = U_t Σ_t V_tᵀ, each cut to k_t = min(rank, ⌊min(out, in) / T⌋) components, and U = [U_1 | ... | U_T],
Σ and V alike: the nearest matrices with orthonormal columns are the polar factors U⊥ = U (UᵀU)^(-1/2) and
V⊥, and the result is U⊥ Σ V⊥ᵀ, times `scale`. Where the cut keeps everything, as for thin factors
it nearly always does, only the interference between tasks is taken away. The span of what came in is not left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.cores import svd_of_product
from lorakit.merging.factors import Factors
from lorakit.merging.methods.settings import Settings

# Directions that several tasks share have no second dimension to be turned into.
_SHARED = 1e-10


def tsv(changes: Sequence[Factors], settings: Settings) -> Factors:
    """The merged change, as factors in float64."""
    most = max(1, min(changes[0].shape) // len(changes))
    found = [svd_of_product(change.up, change.down) for change in changes]
    left = orthogonal(torch.cat([one.u[:, :most] for one in found], dim=1))
    right = orthogonal(torch.cat([one.v[:, :most] for one in found], dim=1))
    sizes = torch.cat([one.s[:most] for one in found]) * settings.number("scale")
    return Factors(left * sizes, right.T)


def orthogonal(vectors: torch.Tensor) -> torch.Tensor:
    """The polar factor of `vectors` (n, k): the nearest matrix with orthonormal columns.

    Where columns depend on each other it is the nearest partial isometry.
    """
    values, basis = torch.linalg.eigh(vectors.T @ vectors)
    kept = values > _SHARED * values[-1:].clamp(min=torch.finfo(values.dtype).tiny)
    basis = basis[:, kept]
    return torch.as_tensor(vectors @ ((basis * values[kept].rsqrt()) @ basis.T))
