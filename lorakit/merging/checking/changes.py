"""A module's change in the form in which inner products are exact and cheap: thin, Kronecker or whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import AdapterModule, LowRank
from lorakit.adapters.lokr import LokrModule, factor
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.needing_weight import needs_weight
from lorakit.merging.factors import exact_factors

CPU = torch.device("cpu")
# Beyond this part of the shorter side, products of thin factors cost more than those of the whole change.
_THIN = 4


@dataclass(frozen=True)
class Kronecker:
    """`first ⊗ second`: first (a, c), second (b, d) for a change of (a b, c d), float32."""

    first: torch.Tensor
    second: torch.Tensor


# Thin factors are kept as they are stored, so that they are cast once, side by side.
Form = LowRank | Kronecker | torch.Tensor


def form_of(
    module: AdapterModule,
    weight_of: Callable[[], torch.Tensor] | None = None,
    device: torch.device = CPU,
) -> Form | None:
    """The change at strength 1, on `device`; None where it depends on a weight and there is no `weight_of`.

    `weight_of` gives the base's weight (out, in). Raises what `AdapterModule.delta` raises.
    """
    if needs_weight(module):
        return (
            None if weight_of is None else module.delta(weight_of().to(device).float()).flatten(1)
        )
    like = torch.zeros((), dtype=torch.float32, device=device)
    if isinstance(module, LokrModule) and not _is_thin(module):
        first, second = (factor(module.parts, side, like) for side in "12")
        return Kronecker(first * module.parts.scale, second)
    if isinstance(module, LoraModule):
        return LowRank(module.up.to(device), module.down.to(device), module.scale)
    thin = exact_factors(module)
    if thin is not None and thin.rank * _THIN <= min(thin.shape):
        return LowRank(thin.up.to(device), thin.down.to(device), 1.0)
    return module.delta(like).flatten(1)


def inner(one: Form, other: Form) -> float:
    """⟨Δ, Δ'⟩ = Σ Δ ∘ Δ' of two changes of one shape, forming neither where it can be helped."""
    if isinstance(one, torch.Tensor) or (isinstance(one, Kronecker) and isinstance(other, LowRank)):
        one, other = other, one
    if isinstance(one, LowRank):
        return _total(one.up.float() * _applied(other, one.down.float().T)) * one.scale
    if isinstance(one, Kronecker):
        if isinstance(other, Kronecker) and one.first.shape == other.first.shape:
            return _total(one.first * other.first) * _total(one.second * other.second)
        return _of_kronecker(one, dense(other))
    return _total(one * dense(other))


def dense(form: Form) -> torch.Tensor:
    """The change itself, (out, in), float32."""
    if isinstance(form, torch.Tensor):
        return form
    if isinstance(form, Kronecker):
        return torch.kron(form.first, form.second)
    return (form.up.float() @ form.down.float()) * form.scale


def shape_of(form: Form) -> tuple[int, int]:
    """(out, in) of the change."""
    if isinstance(form, Kronecker):
        (a, c), (b, d) = form.first.shape, form.second.shape
        return a * b, c * d
    if isinstance(form, LowRank):
        return form.up.shape[0], form.down.shape[1]
    return form.shape[0], form.shape[1]


def _applied(form: Form, columns: torch.Tensor) -> torch.Tensor:
    """The change times columns (in, k): (out, k)."""
    if isinstance(form, Kronecker):
        # (A ⊗ B) vec(X) = vec(A X Bᵀ), with row-major vec.
        matrices = columns.T.reshape(-1, form.first.shape[1], form.second.shape[1])
        return (form.first @ matrices @ form.second.T).flatten(1).T
    if isinstance(form, LowRank):
        return form.up.float() @ (form.down.float() @ columns) * form.scale
    return form @ columns


def _of_kronecker(one: Kronecker, other: torch.Tensor) -> float:
    """Σ (A ⊗ B) ∘ D, by blocks of D."""
    (a, c), (b, d) = one.first.shape, one.second.shape
    blocks = other.reshape(a, b, c, d).permute(0, 2, 1, 3)
    return _total(one.first * (blocks * one.second).sum((2, 3)))


def _total(products: torch.Tensor) -> float:
    return float(products.sum(-1).sum(dtype=torch.float64))


def _is_thin(module: LokrModule) -> bool:
    """Whether both sides are stored as products, so that the whole is one of few components."""
    return all(f"lokr_w{side}_a" in module.parts for side in "12")
