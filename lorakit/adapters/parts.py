"""The tensors of one module by part name, with what the file states about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Parts(Mapping[str, torch.Tensor]):
    """The parts (formats/parts.py) of one module; `alpha` and `scale` as the report has them."""

    tensors: Mapping[str, torch.Tensor]
    alpha: float | None
    scale: float

    def __getitem__(self, part: str) -> torch.Tensor:
        return self.tensors[part]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)
