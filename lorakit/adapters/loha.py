"""LoHa: the Hadamard product of two low-rank products (FedPara, arXiv:2108.06098; LyCORIS,
arXiv:2309.14859)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.adapters.parts import Parts
from lorakit.adapters.tucker import tucker


@dataclass(frozen=True)
class LohaModule:
    """delta = scale * (w1_a @ w1_b) ∘ (w2_a @ w2_b), of a rank up to the square of the factors' own.

    w_a: (out, rank), w_b: (rank, in); with a Tucker core t (rank, rank, 1, 1): w_a (rank, out).
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: the product's own rank is rank², too much to carry as factors."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1; it does not depend on the weight's values."""
        return _side(self.parts, "1", weight) * _side(self.parts, "2", weight) * self.parts.scale


def thin_sides(
    parts: Parts, dtype: torch.dtype
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Both products as (left, right) with left (out, rank) and right (rank, in), the scale left out."""
    first, second = (_thin_side(parts, side, dtype) for side in "12")
    return first, second


def face_split(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(A B) ∘ (C D) as one product of rank² components: the face-splitting product.

    Each row of the left factor is the Kronecker product of the rows of A and C, each column of the right one
    that of the columns of B and D.
    """
    (a, b), (c, d) = first, second
    return (a[:, :, None] * c[:, None, :]).flatten(1), (b[:, None, :] * d[None, :, :]).flatten(0, 1)


def _thin_side(parts: Parts, side: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (parts[f"hada_w{side}_{half}"].to(dtype) for half in "ab")
    core = parts.get(f"hada_t{side}")
    # With a Tucker core t the product is aᵀ t b; the first rank of t belongs to a.
    return a.flatten(1) if core is None else a.T @ core.to(dtype).flatten(1), b.flatten(1)


def _side(parts: Parts, side: str, like: torch.Tensor) -> torch.Tensor:
    a, b = parts[f"hada_w{side}_a"].to(like), parts[f"hada_w{side}_b"].to(like)
    core = parts.get(f"hada_t{side}")
    return a @ b if core is None else tucker(core.to(like), a, b)
