"""LoKr: a Kronecker product (KronA, arXiv:2212.10650; LyCORIS, arXiv:2309.14859)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.adapters.parts import Parts
from lorakit.adapters.tucker import tucker


@dataclass(frozen=True)
class LokrModule:
    """delta = scale * w1 ⊗ w2, w1 (a, c), w2 (b, d) for a weight of (a b, c d).

    Each factor is stored whole or as the product of two; scale is alpha / rank of the second factor
    where it is a product, else of the first, and 1 where both are whole, whatever alpha says.
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: a Kronecker product is not of low rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1; it does not depend on the weight's values."""
        parts = self.parts
        first, second = factor(parts, "1", weight), factor(parts, "2", weight)
        return torch.kron(first, second) * parts.scale


def factor(parts: Parts, side: str, like: torch.Tensor) -> torch.Tensor:
    """One side of the product, whole, in the dtype and on the device of `like`."""
    whole = parts.get(f"lokr_w{side}")
    if whole is not None:
        return whole.to(like).flatten(1)
    a, b = parts[f"lokr_w{side}_a"].to(like), parts[f"lokr_w{side}_b"].to(like)
    core = parts.get(f"lokr_t{side}")
    return a.flatten(1) @ b.flatten(1) if core is None else tucker(core.to(like), a, b)
