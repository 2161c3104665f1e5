"""Full differences: a delta, or a whole replacement, stored in the shape of the weight or norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import AdapterModule, DoraFormula


@dataclass(frozen=True)
class DiffModule:
    """delta = diff (LyCORIS `diff`, `w_norm`)."""

    diff: torch.Tensor

    def low_rank(self) -> None:
        """None: stored in full."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The stored difference."""
        return self.diff.to(weight)


@dataclass(frozen=True)
class SetModule:
    """W' = value (ComfyUI's `set_weight`); other strengths interpolate."""

    value: torch.Tensor

    def low_rank(self) -> None:
        """None: stored in full."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """What is missing from the weight to the stored value."""
        return self.value.to(weight) - weight


@dataclass(frozen=True)
class SumModule:
    """Several families on one module, such as LoRA and `diff`: their changes add up."""

    modules: tuple[AdapterModule, ...]

    def low_rank(self) -> None:
        """None: at least one of them is stored in full."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The sum of the changes, each against the same weight."""
        return torch.stack([module.delta(weight, dora) for module in self.modules]).sum(0)
