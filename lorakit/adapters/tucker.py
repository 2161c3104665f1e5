"""The Tucker form that LyCORIS gives its convolutions (arXiv:2309.14859, appendix)."""

from __future__ import annotations

import torch


def tucker(core: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Rebuild (out, in) from core (rank, rank, 1, 1), a (rank, out) and b (rank, in)."""
    return torch.einsum("ij...,ip,jr->pr...", core, a, b).flatten(1)
