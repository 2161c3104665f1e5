"""Compress then Merge (He et al., ICML 2026, arXiv:2606.03723).

Bases U (out, r) and V (in, r) of the wanted rank are sought first, such that all changes lie in them as well
as can be: Tucker-2 of the tensor of λ_t Δ_t / ‖Δ_t‖ with λ_t = β ‖Δ_t‖ + (1 - β) mean ‖Δ‖, by HOSVD and
then HOOI (each basis in turn the leading singular vectors of the changes seen through the other). The
coordinates Uᵀ Δ_t V, (r, r), of the changes as they are, are merged by `in_core`, and the result U M Vᵀ has rank r
by construction. All of it happens in the core space of the joined factors, without loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.factors import Factors
from lorakit.merging.methods.core import to_cores
from lorakit.merging.methods.inside import merge_matrices
from lorakit.merging.methods.settings import Settings

_MOST_ROUNDS = 100
_STILL = 1e-7


def ctm(changes: Sequence[Factors], settings: Settings) -> Factors:
    """The merged change, as factors in float64, of rank `settings.rank` or the largest that came in."""
    rank = settings.rank or max(change.rank for change in changes)
    left, right, cores = to_cores(changes)
    tensor = torch.stack(_rescaled(cores, settings.number("beta")))
    u, v = tucker(tensor, rank)
    merged = merge_matrices([u.T @ one @ v for one in cores], settings)
    return Factors(left @ (u @ merged), (right @ v).T)


def _rescaled(cores: Sequence[torch.Tensor], beta: float) -> list[torch.Tensor]:
    norms = torch.stack([one.norm() for one in cores])
    wanted = beta * norms + (1 - beta) * norms.mean()
    return [one * (w / n if n else n) for one, w, n in zip(cores, wanted, norms, strict=True)]


def tucker(tensor: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """U (k, r) and V (l, r) with orthonormal columns that hold the most of `tensor` (T, k, l).

    Higher-order orthogonal iteration (De Lathauwer et al., SIAM J. Matrix Anal. Appl. 21, 2000).
    """
    u = _leading(tensor, rank)
    v = _leading(tensor.mT, rank)
    held = 0.0
    for _ in range(_MOST_ROUNDS):
        u = _leading(tensor @ v, rank)
        v = _leading(tensor.mT @ u, rank)
        now = float((u.T @ tensor @ v).square().sum())
        if now - held <= _STILL * now:
            break
        held = now
    return u, v


def _leading(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """The leading eigenvectors of Σ_t X_t X_tᵀ: the left singular vectors of [X_1 | ... | X_T]."""
    _, vectors = torch.linalg.eigh((tensor @ tensor.mT).sum(0))
    return torch.as_tensor(vectors[:, -rank:].flip(1))
