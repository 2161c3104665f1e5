"""T-LoRA: LoRA that starts from the weight's own singular vectors (Soboleva et al.,
arXiv:2507.05964), as LyCORIS stores it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.adapters.parts import Parts


@dataclass(frozen=True)
class TloraModule:
    """delta = scale * (P diag(l) Q - P0 diag(l0) Q0), the second the top-rank SVD of the weight.

    tlora_p: (out, rank), tlora_q: (rank, in), tlora_lambda: (1, rank). The file does not hold the
    starting point, so it is taken again from the weight at hand: exact on the base that the adapter
    was trained on, approximate on another. The rank mask over time steps is for training only.
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: the starting point depends on the weight."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1."""
        p, q, scales = (self.parts[f"tlora_{n}"].to(weight) for n in ("p", "q", "lambda"))
        p, q = p.flatten(1), q.flatten(1)
        rank = q.shape[0]
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        start = (left[:, :rank] * values[:rank]) @ right[:rank]
        change: torch.Tensor = (p * scales.flatten()) @ q - start
        return change * self.parts.scale
