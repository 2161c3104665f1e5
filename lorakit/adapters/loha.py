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


def _side(parts: Parts, side: str, like: torch.Tensor) -> torch.Tensor:
    a, b = parts[f"hada_w{side}_a"].to(like), parts[f"hada_w{side}_b"].to(like)
    core = parts.get(f"hada_t{side}")
    return a @ b if core is None else tucker(core.to(like), a, b)
