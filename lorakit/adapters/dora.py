"""DoRA: a weight as magnitude times direction (Liu et al., arXiv:2402.09353), over any additive
algorithm (DoRA, DoHa, DoKr)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import AdapterModule, DoraFormula
from lorakit.errors import BadFile


@dataclass(frozen=True)
class DoraModule:
    """W' = m * (W + delta) / ||W + delta||, taken along rows or columns.

    magnitude: (out, 1), norms of rows, as PEFT, ai-toolkit and LyCORIS write by default; or (1, in),
    norms of columns. One dimension means rows: every trainer that writes a bare vector means those.
    With the formula "comfyui" rows are divided by ||W||, as ComfyUI does.
    """

    inner: AdapterModule
    magnitude: torch.Tensor
    name: str

    def low_rank(self) -> None:
        """None: the change is of full rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """W' - W at strength 1. Raises `BadFile` for a magnitude that fits neither axis."""
        moved = weight + self.inner.delta(weight)
        magnitude = _orient(self.magnitude, weight.shape, self.name).to(weight)
        by_row = magnitude.shape[0] == weight.shape[0]
        measured = weight if dora == "comfyui" and by_row else moved
        norm: torch.Tensor = torch.linalg.vector_norm(
            measured, dim=1 if by_row else 0, keepdim=True
        )
        # A row of zeros has no direction; the magnitude of such a row says nothing.
        return moved * (magnitude / norm.clamp_min(torch.finfo(weight.dtype).tiny)) - weight


def _orient(magnitude: torch.Tensor, shape: torch.Size, name: str) -> torch.Tensor:
    out, inner = shape
    flat = tuple(magnitude.shape[:2])
    if magnitude.numel() == out and (len(flat) < 2 or flat[0] == out):
        return magnitude.reshape(out, 1)
    if magnitude.numel() == inner and (len(flat) < 2 or flat[0] == 1):
        return magnitude.reshape(1, inner)
    if magnitude.numel() == inner and flat[0] == inner:
        return magnitude.reshape(1, inner)
    raise BadFile(
        f"The magnitude of {name} has shape {list(magnitude.shape)}, which fits neither the rows nor "
        f"the columns of a weight of {[out, inner]}."
    )
