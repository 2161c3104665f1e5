"""A change as a product of two thin factors, exactly, for the algorithms where it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.full import SumModule
from lorakit.adapters.glora import GloraModule, is_old_form
from lorakit.adapters.loha import LohaModule, face_split, thin_sides
from lorakit.adapters.lokr import LokrModule, factor
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.parts import Parts


@dataclass(frozen=True)
class Factors:
    """A change `up @ down`: up (out, rank), down (rank, in), scale and strength within, one dtype."""

    up: torch.Tensor
    down: torch.Tensor

    @property
    def rank(self) -> int:
        """The number of components, which may depend on each other."""
        return self.up.shape[-1]

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the change."""
        return self.up.shape[-2], self.down.shape[-1]

    def scaled(self, strength: float) -> Factors:
        """`strength` times the change."""
        return self if strength == 1 else Factors(self.up * strength, self.down)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> Factors:
        """The same in another dtype, or elsewhere."""
        return Factors(self.up.to(device, dtype), self.down.to(device, dtype))

    def dense(self) -> torch.Tensor:
        """The change itself, (out, in)."""
        return self.up @ self.down


def exact_factors(
    module: AdapterModule,
    strength: float = 1.0,
    *,
    weight: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Factors | None:
    """`strength` times the module's change as factors, without any loss but rounding to `dtype`.

    LoRA as it is; LoHa by the face-splitting product, (A B) ∘ (C D) = (A ∘ C by rows)(B ∘ D by columns),
    of rank²; a Kronecker product as (U ⊗ X)(V ⊗ Y) of its sides' factors; GLoRA where the base's
    `weight` (out, in) is given; a sum of these by joining. None where the change is stored in full, is
    not of low rank (rank below both sides), or depends on a weight that is not given.
    """
    found = _factors(module, weight, dtype)
    return None if found is None else found.scaled(strength)


def join(parts: Sequence[Factors]) -> Factors:
    """The sum of changes of one shape, as one product: ranks add up."""
    if len(parts) == 1:
        return parts[0]
    return Factors(
        torch.cat([part.up for part in parts], dim=-1),
        torch.cat([part.down for part in parts], dim=-2),
    )


def _factors(
    module: AdapterModule, weight: torch.Tensor | None, dtype: torch.dtype
) -> Factors | None:
    if isinstance(module, LoraModule):
        up = module.up.to(dtype)
        return Factors(up if module.scale == 1 else up * module.scale, module.down.to(dtype))
    if isinstance(module, LohaModule):
        return _of_hadamard(module.parts, dtype)
    if isinstance(module, LokrModule):
        return _of_kronecker(module.parts, dtype)
    if isinstance(module, GloraModule) and weight is not None:
        return _of_glora(module.parts, weight, dtype)
    if isinstance(module, SumModule):
        parts = [_factors(part, weight, dtype) for part in module.modules]
        found = [part for part in parts if part is not None]
        return _thin(join(found)) if len(found) == len(parts) else None
    return None


def _thin(factors: Factors) -> Factors | None:
    return factors if factors.rank < min(factors.shape) else None


def _of_hadamard(parts: Parts, dtype: torch.dtype) -> Factors | None:
    first, second = thin_sides(parts, dtype)
    (a, b), (c, _) = first, second
    if a.shape[1] * c.shape[1] >= min(a.shape[0], b.shape[1]):
        return None
    up, down = face_split(first, second)
    return Factors(up * parts.scale, down)


def _of_kronecker(parts: Parts, dtype: torch.dtype) -> Factors | None:
    first, second = (_side(parts, side, dtype) for side in "12")
    out, inner = (a * b for a, b in zip(first.shape, second.shape, strict=True))
    if first.rank * second.rank >= min(out, inner):
        return None
    up = torch.kron(first.up.contiguous(), second.up.contiguous())
    down = torch.kron(first.down.contiguous(), second.down.contiguous())
    return Factors(up * parts.scale, down)


def _side(parts: Parts, side: str, dtype: torch.dtype) -> Factors:
    """One side of a Kronecker product, as the product it is stored as, or with an identity."""
    a, b = parts.get(f"lokr_w{side}_a"), parts.get(f"lokr_w{side}_b")
    if a is not None and b is not None and f"lokr_t{side}" not in parts:
        a, b = a.to(dtype).flatten(1), b.to(dtype).flatten(1)
        if a.shape[1] < min(a.shape[0], b.shape[1]):
            return Factors(a, b)
    return of_matrix(factor(parts, side, torch.zeros((), dtype=dtype)))


def of_matrix(matrix: torch.Tensor) -> Factors:
    """Any matrix as a product of itself and an identity, on its shorter side."""
    out, inner = matrix.shape
    eye = torch.eye(min(out, inner), dtype=matrix.dtype, device=matrix.device)
    return Factors(eye, matrix) if out < inner else Factors(matrix, eye)


def _of_glora(parts: Parts, weight: torch.Tensor, dtype: torch.dtype) -> Factors | None:
    a1, a2, b1, b2 = (
        parts[f"glora_{name}"].to(dtype).flatten(1) for name in ("a1", "a2", "b1", "b2")
    )
    if is_old_form(tuple(a1.shape), tuple(a2.shape), tuple(b1.shape)):
        a1, a2, b1, b2 = a2, a1, b2, b1
    both = join([Factors(weight.to(dtype) @ a1, a2), Factors(b1, b2)])
    return _thin(both.scaled(parts.scale))
