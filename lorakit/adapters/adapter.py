"""An adapter in memory: its modules, each able to give its delta against a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from lorakit.formats.inspection import AdapterReport


@dataclass(frozen=True)
class LowRank:
    """A delta as a product: `scale * up @ down`, up (out, rank), down (rank, in), stored dtypes."""

    up: torch.Tensor
    down: torch.Tensor
    scale: float


class AdapterModule(Protocol):
    """What every algorithm offers for one patched module."""

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight that this module patches."""
        ...

    def low_rank(self) -> LowRank | None:
        """The delta as a product of two thin factors, where it is one whatever the weight."""
        ...

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """The change at strength 1 of `weight` (out, in), in its dtype and on its device."""
        ...


@dataclass(frozen=True)
class Adapter:
    """One adapter file in memory. `modules` maps canonical module names to their patches."""

    path: Path
    modules: Mapping[str, AdapterModule]
    report: AdapterReport

    @property
    def unused_keys(self) -> tuple[str, ...]:
        """The keys of the file that patch nothing lorakit knows, by name."""
        return self.report.unused_keys
