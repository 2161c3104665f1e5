"""Core Space merging (Panariello et al., arXiv:2509.17786).

With Δ_t = B_t A_t, U the left singular vectors of [B_1 | ... | B_T] and V the right ones of [A_1; ...; A_T],
the cores M_t = Uᵀ B_t A_t V, (R, R) each, hold the Δ_t without loss; they are merged by `in_core` and the
result is U M Vᵀ. In the paper U and V depend on how each Δ_t is split into factors; here every
Δ_t is split evenly, B_t = U_t √Σ_t and A_t = √Σ_t V_tᵀ, so that the result depends on the changes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.cores import core_of, truncate
from lorakit.merging.factors import Factors
from lorakit.merging.methods.inside import merge_matrices
from lorakit.merging.methods.settings import Settings
from lorakit.merging.methods.spans import span_of


def core(changes: Sequence[Factors], settings: Settings) -> Factors:
    """The merged change, as factors in float64."""
    left, right, cores = to_cores(changes)
    return Factors(left @ merge_matrices(cores, settings), right.T)


def to_cores(
    changes: Sequence[Factors],
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Bases (out, k) and (in, l) common to all `changes`, and each change in them, (k, l); float64."""
    even = [evenly(change) for change in changes]
    left = span_of(torch.cat([change.up for change in even], dim=1))
    right = span_of(torch.cat([change.down for change in even]).T)
    return left, right, [(left.T @ one.up) @ (one.down @ right) for one in even]


def evenly(change: Factors) -> Factors:
    """The same change with its size shared evenly by both factors, float64."""
    found = core_of(change.up, change.down)
    return truncate(found, found.s.numel(), torch.float64)
