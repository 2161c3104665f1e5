"""IA3: rows or columns of a weight multiplied by learnt factors (Liu et al., arXiv:2205.05638)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula


@dataclass(frozen=True)
class Ia3Module:
    """delta = W * w along rows, w (out,), or along columns, w (in,), when it acts on the input."""

    factors: torch.Tensor
    on_input: bool

    def low_rank(self) -> None:
        """None: the change is of full rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1."""
        factors = self.factors.to(weight).flatten()
        return weight * (factors[None, :] if self.on_input else factors[:, None])
