"""LoRA: a low-rank update of a linear layer (Hu et al., arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import DoraFormula, LowRank
from lorakit.adapters.parts import Parts


@dataclass(frozen=True)
class LoraModule:
    """delta = scale * up @ down, with scale = alpha / rank, or 1 where no alpha is stated.

    up: (out, rank), down: (rank, in), in the dtype of the file. rsLoRA (arXiv:2312.03732) differs in
    its scale alone, alpha / sqrt(rank).
    """

    up: torch.Tensor
    down: torch.Tensor
    scale: float

    def low_rank(self) -> LowRank:
        """The factors themselves."""
        return LowRank(self.up, self.down, self.scale)

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1; it does not depend on the weight's values."""
        return (self.up.to(weight) @ self.down.to(weight)) * self.scale


def build_lora(parts: Parts) -> LoraModule:
    """Build from `down`, `up`, and where there are, `mid` and `inv_scale`.

    1x1 convolutions hold the same numbers under shape (n, m, 1, 1). `mid` (rank, rank, 1, 1) is the
    core of a Tucker decomposition (LyCORIS, arXiv:2309.14859); `inv_scale` (in,) is the inverse of the
    channel scale that anima_lora divides its inputs by.
    """
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    if "mid" in parts:
        up = (up.double() @ parts["mid"].flatten(1).double()).float()
    if "inv_scale" in parts:
        down = down.float() * parts["inv_scale"].float().flatten()
    return LoraModule(up, down, parts.scale)
