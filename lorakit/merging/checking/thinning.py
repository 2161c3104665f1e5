"""The leading directions of a change of any form, where a few hold nearly all of it.

A Kronecker product's singular vectors are those of its sides, (U ⊗ X) and (V ⊗ Y), and its singular values
their products. Of a change in full, the range is found by random projection with two rounds of subspace
iteration (Halko, Martinsson and Tropp, SIAM Rev. 53, 2011, algorithm 4.4), after a cheap look at whether few
directions could hold it at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import LowRank
from lorakit.merging.checking.changes import Form, Kronecker, shape_of

# Of a module's energy, what its directions have to hold.
SHARE = 0.99
# No more directions than this, nor than this part of what there are.
MOST = 128
_PART = 4
_SPARE = 8
_PROBES = 8
# Up to this many rows or columns everything is decomposed at once.
_SMALL = 256
# How far the estimate of a count from so few probes may be off.
_UNSURE = 1.5


@dataclass(frozen=True, eq=False)
class Thin:
    """Factors that hold at least `SHARE` of a change, and its whole energy ‖Δ‖²."""

    factors: LowRank
    energy: float


def thinned(form: Form) -> Thin | None:
    """The change as a product of its leading directions; None where too many are needed."""
    if isinstance(form, LowRank):
        return Thin(form, _energy_of(form))
    limit = max(1, min(MOST, min(shape_of(form)) // _PART))
    if isinstance(form, Kronecker):
        return _of_kronecker(form, limit)
    energy = float(form.square().sum(dtype=torch.float64))
    if min(form.shape) <= _SMALL:
        u, s, v = torch.linalg.svd(form, full_matrices=False)
        return _leading(u, s, v, energy, limit)
    return _of_large(form, energy, limit)


def _energy_of(form: LowRank) -> float:
    up, down = form.up.float(), form.down.float()
    return float(((up.T @ up) * (down @ down.T)).sum(dtype=torch.float64)) * form.scale**2


def _of_kronecker(form: Kronecker, limit: int) -> Thin | None:
    (u, s, v), (x, t, y) = (
        torch.linalg.svd(side, full_matrices=False) for side in (form.first, form.second)
    )
    values, order = torch.outer(s, t).flatten().sort(descending=True)
    energy = float(values.square().sum(dtype=torch.float64))
    count = _count(values, energy)
    if count > limit:
        return None
    first, second = order[:count] // len(t), order[:count] % len(t)
    # Column k of a Kronecker product is the product of one column of each side.
    left = (u[:, None, first] * x[None, :, second]).flatten(0, 1)
    right = (v[first, :, None] * y[second, None, :]).flatten(1)
    return Thin(LowRank(left * values[:count], right, 1.0), energy)


def _of_large(form: torch.Tensor, energy: float, limit: int) -> Thin | None:
    draw = torch.Generator().manual_seed(0)
    probes = torch.randn(form.shape[1], limit + _SPARE, generator=draw).to(form)
    # Σ σ⁴ ≥ (SHARE Σ σ²)² / p where p directions hold the share; E ‖ΔᵀΔ x‖² = Σ σ⁴ for normal x.
    few = form.T @ (form @ probes[:, :_PROBES])
    fourth = float(few.square().sum(dtype=torch.float64)) / _PROBES
    if fourth * limit * _UNSURE < (SHARE * energy) ** 2:
        return None
    basis = torch.linalg.qr(form @ probes).Q
    for _ in range(2):
        basis = torch.linalg.qr(form @ torch.linalg.qr(form.T @ basis).Q).Q
    u, s, v = torch.linalg.svd(basis.T @ form, full_matrices=False)
    return _leading(basis @ u, s, v, energy, limit)


def _leading(
    left: torch.Tensor, values: torch.Tensor, right: torch.Tensor, energy: float, limit: int
) -> Thin | None:
    count = _count(values, energy)
    if count > limit:
        return None
    return Thin(LowRank(left[:, :count] * values[:count], right[:count], 1.0), energy)


def _count(values: torch.Tensor, energy: float) -> int:
    """How many of the singular values hold the share; one more than there are where none do."""
    held = values.double().square().cumsum(0)
    return int((held < SHARE * energy).sum()) + 1
