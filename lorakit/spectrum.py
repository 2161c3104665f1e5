"""Singular values of what an adapter changes, without ever forming the change where it can be helped.

Of a product of thin factors they are those of a small core: with QR(up) = Q R and QR(downᵀ) = P S,
up @ down = Q (R Sᵀ) Pᵀ, so the core R Sᵀ of (rank, rank) has them all. Of a Kronecker product they are
the products of both sides' values (Van Loan, J. Comput. Appl. Math. 123, 2000). LoHa's Hadamard product
of two products is one product of rank² again (the face-splitting product).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lorakit.adapters.full import DiffModule
from lorakit.adapters.loha import LohaModule, face_split, thin_sides
from lorakit.adapters.lokr import LokrModule, factor
from lorakit.adapters.lora import LoraModule

if TYPE_CHECKING:
    import torch

    from lorakit.adapters.adapter import AdapterModule

# A matrix of this many rows or columns takes tens of milliseconds; of 2048, seconds.
_MOST_DENSE = 512


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a change at strength 1, the largest first, all finite and not negative."""

    values: tuple[float, ...]

    @cached_property
    def energy(self) -> float:
        """The squared Frobenius norm."""
        return sum(value * value for value in self.values)

    @property
    def stable_rank(self) -> float:
        """‖·‖_F² / σ₁², between 1 and the rank; 0 for a change of nothing."""
        return self.energy / self.values[0] ** 2 if self.energy else 0.0

    def rank_for(self, share: float) -> int:
        """The smallest rank that holds `share` (0 to 1) of the energy."""
        held = 0.0
        for number, value in enumerate(self.values):
            if held >= share * self.energy * (1 - 1e-12):
                return number
            held += value * value
        return len(self.values)


def spectrum(module: AdapterModule, *, most_dense: int = _MOST_DENSE) -> Spectrum | None:
    """The singular values of a module's change at strength 1, in float64.

    None where the change depends on the base's weight (DoRA, OFT, IA3, GLoRA, T-LoRA, replacements), is
    no matrix, holds values that are not finite, or is stored in full with both sides above `most_dense`.
    """
    import torch

    with torch.no_grad():
        found = _values(module, most_dense)
    if found is None or not bool(torch.isfinite(found).all()):
        return None
    ordered = torch.sort(found, descending=True).values
    return Spectrum(tuple(float(value) for value in ordered))


def _values(module: AdapterModule, most_dense: int) -> torch.Tensor | None:
    import torch

    found: torch.Tensor | None = None
    double = torch.zeros((), dtype=torch.float64)
    if isinstance(module, LoraModule):
        return _of_product(module.up.double(), module.down.double()) * abs(module.scale)
    if isinstance(module, LokrModule):
        sides = [torch.linalg.svdvals(factor(module.parts, side, double)) for side in "12"]
        found = torch.outer(*sides).flatten() * abs(module.parts.scale)
    elif isinstance(module, LohaModule):
        found = _of_hadamard(module, most_dense)
    elif isinstance(module, DiffModule) and module.diff.ndim > 1:
        matrix = module.diff.flatten(1)
        if min(matrix.shape) <= most_dense:
            found = torch.linalg.svdvals(matrix.double())
    return found


def _of_product(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Of up (out, rank) @ down (rank, in), float64."""
    import torch

    if not bool(torch.isfinite(up).all() and torch.isfinite(down).all()):
        return up.new_full((1,), torch.nan)
    if up.shape[1] >= min(up.shape[0], down.shape[1]):
        core = up @ down
    else:
        core = torch.linalg.qr(up, mode="r").R @ torch.linalg.qr(down.T, mode="r").R.T
    found: torch.Tensor = torch.linalg.svdvals(core)
    return found


def _of_hadamard(module: LohaModule, most_dense: int) -> torch.Tensor | None:
    import torch

    first, second = thin_sides(module.parts, torch.float64)
    (a, b), (c, _) = first, second
    if min(a.shape[1] * c.shape[1], a.shape[0], b.shape[1]) > most_dense:
        return None
    return _of_product(*face_split(first, second)) * abs(module.parts.scale)
