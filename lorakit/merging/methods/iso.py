"""Iso-C: isotropic merging in the common subspace (Marczak et al., arXiv:2502.04959).

With the sum Σ_t Δ_t = U Σ Vᵀ the result is σ̄ U Vᵀ, times `scale`: every direction of the sum gets the mean
size. The paper's σ̄ is the mean of all min(out, in) singular values, of a change of full rank; a change of
rank R has R of them, and the mean over the others' zeros would make the result min(out, in) / R times too
weak, so σ̄ is the mean over the active rank.

Where a rank is asked for, what comes in is the sum's best approximation of that rank: σ̄ U_k V_kᵀ, with the
sum's own k largest directions and the mean of their sizes. Of the result, where all are the same, rounding would choose.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorakit.merging.cores import svd_of_product
from lorakit.merging.factors import Factors, join
from lorakit.merging.methods.settings import Settings

# Of the largest singular value: below it lies what rounding the factors to float32 leaves behind.
_ACTIVE = 1e-6


def iso(changes: Sequence[Factors], settings: Settings) -> Factors:
    """The merged change, as factors in float64."""
    whole = join(changes)
    found = svd_of_product(whole.up, whole.down)
    active = int((found.s > _ACTIVE * found.s[:1]).sum())
    if not active:
        return Factors(
            whole.up.new_zeros(whole.shape[0], 1), whole.down.new_zeros(1, whole.shape[1])
        )
    size = float(found.s[:active].mean()) * settings.number("scale")
    return Factors(found.u[:, :active] * size, found.v[:, :active].T)
