"""GLoRA: a low-rank update that also multiplies the weight (Chavan et al., arXiv:2306.07967)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.adapters.parts import Parts


@dataclass(frozen=True)
class GloraModule:
    """delta = scale * (W a1 a2 + b1 b2), or in the older form scale * (W a2 a1 + b2 b1).

    New: a1 (in, rank), a2 (rank, in), b1 (out, rank), b2 (rank, in). Old: a1 (rank, in), a2 (in, rank),
    b1 (rank, in), b2 (out, rank).
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: the factors depend on the weight."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1."""
        a1, a2, b1, b2 = (
            self.parts[f"glora_{name}"].to(weight).flatten(1) for name in ("a1", "a2", "b1", "b2")
        )
        if is_old_form(tuple(a1.shape), tuple(a2.shape), tuple(b1.shape)):
            a1, a2, b1, b2 = a2, a1, b2, b1
        return ((weight @ a1) @ a2 + b1 @ b2) * self.parts.scale


def is_old_form(a1: tuple[int, ...], a2: tuple[int, ...], b1: tuple[int, ...]) -> bool:
    """Whether the factors are stored in the older order: rank first in a1 and b1."""
    return a1[0] < a1[1] and a2[0] > a2[1] and b1[0] == a1[0]
