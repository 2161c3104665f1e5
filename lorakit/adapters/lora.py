"""LoRA: a low-rank update of a linear layer (Hu et al., arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import LowRank


@dataclass(frozen=True)
class LoraModule:
    """delta = scale * up @ down, with scale = alpha / rank, or 1 where no alpha is stated.

    up: (out, rank), down: (rank, in), in the dtype of the file. A 1x1 convolution's factors of shape
    (out, rank, 1, 1) and (rank, in, 1, 1) are the same numbers and are flattened on loading.
    """

    up: torch.Tensor
    down: torch.Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight that this module patches."""
        return self.up.shape[0], self.down.shape[1]

    def low_rank(self) -> LowRank:
        """The factors themselves."""
        return LowRank(self.up, self.down, self.scale)

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """The change at strength 1, (out, in), in the dtype and on the device of `weight`."""
        return (self.up.to(weight) @ self.down.to(weight)) * self.scale


def build_lora(parts: Mapping[str, torch.Tensor], scale: float) -> LoraModule:
    """Build from the tensors `up` and `down` of one module."""
    return LoraModule(parts["up"].flatten(1), parts["down"].flatten(1), scale)
