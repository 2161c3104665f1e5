"""DARE: drop and rescale (Yu et al., arXiv:2311.03099), with a linear sum afterwards.

Each entry of a delta is dropped with probability p = `drop`, by chance and independent of the others, and
the rest is divided by 1 - p, so that the expected delta is what it was. The deltas are then added up and
multiplied by `scale`. The variance this adds is p / (1 - p) times the energy of the delta.

Chance goes by the place of a change among the others: another order drops other entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.methods.settings import Dense, Settings


def dare(changes: Sequence[Dense], settings: Settings) -> torch.Tensor:
    """The sum of `changes`, each with entries dropped by chance."""
    drop = settings.number("drop")
    total: torch.Tensor | None = None
    for number, change in enumerate(changes):
        matrix = change()
        chances = torch.rand(matrix.shape, generator=settings.generator(number))
        kept = torch.where((chances >= drop).to(matrix.device), matrix, 0).div_(1 - drop)
        total = kept if total is None else total.add_(kept)
    assert total is not None, "a weight that changes has a change"
    return total.mul_(settings.number("scale"))
