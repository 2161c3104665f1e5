"""KnOTS: knowledge orientation through SVD (Stoica et al., arXiv:2410.19735).

[Δ_1 | ... | Δ_T] = U Σ [V_1ᵀ | ... | V_Tᵀ]: all changes in one basis U. The ΣV_tᵀ, (R, in) each, are merged by
`in_core` (TIES in the paper) and the result is U times what comes out of it. The SVD needs the
factors alone: with QR of the joined ups, [Δ_1 | ...] = Q [R_1 A_1 | ...] and the Gram matrix of the bracket
is that of R by R.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.factors import Factors
from lorakit.merging.methods.inside import merge_matrices
from lorakit.merging.methods.settings import Settings
from lorakit.merging.methods.spans import span_of

# Of the largest singular value, as in iso.
_ACTIVE = 1e-6


def knots(changes: Sequence[Factors], settings: Settings) -> Factors:
    """The merged change, as factors in float64."""
    basis = span_of(torch.cat([change.up for change in changes], dim=1))
    parts = [(basis.T @ change.up.double()) @ change.down.double() for change in changes]
    gram = torch.stack([part @ part.T for part in parts]).sum(0)
    values, turn = torch.linalg.eigh(gram)
    turn = turn[:, values > _ACTIVE**2 * values[-1:]].flip(1)
    merged = merge_matrices([turn.T @ part for part in parts], settings)
    return Factors(basis @ turn, merged)
