"""DELLA-Merging: MagPrune, then elect and fuse (Deep et al., arXiv:2406.11617).

In every row the entries are ranked by magnitude. The probability of being dropped falls linearly with
the rank, from p + ε/2 for the smallest to p - ε/2 for the largest, with p = `drop` and ε = `window`; what
stays is divided by its own probability of staying. Then, as in TIES, each entry elects a sign and the
mean of those that agree is taken, times `scale` (the paper's λ).

Chance goes by the place of a change among the others, as in DARE.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from lorakit.merging.methods.settings import Dense, Settings
from lorakit.merging.methods.ties import elect_and_merge


def della(changes: Sequence[Dense], settings: Settings) -> torch.Tensor:
    """The merged matrix of `changes`, all of one shape, in their dtype."""
    drop, window = settings.number("drop"), settings.number("window")
    pruned = [
        prune(change(), drop, window, settings.generator(number))
        for number, change in enumerate(changes)
    ]
    # Held, since ranking takes the longest of all.
    return elect_and_merge([partial(_same, one) for one in pruned]).mul_(settings.number("scale"))


def prune(
    matrix: torch.Tensor, drop: float, window: float, generator: torch.Generator
) -> torch.Tensor:
    """MagPrune: `matrix` with entries dropped by chance, small ones more often, and the rest rescaled."""
    width = matrix.shape[-1]
    order = _order(matrix.abs())
    ranks = torch.linspace(0, 1, width, device=matrix.device).expand_as(matrix)
    place = torch.empty_like(matrix).scatter_(-1, order, ranks.to(matrix.dtype))
    staying = (1 - drop - window / 2) + window * place
    chances = torch.rand(matrix.shape, generator=generator).to(matrix.device)
    return torch.where(chances < staying, matrix / staying, 0)


def _order(sizes: torch.Tensor) -> torch.Tensor:
    """The places of the entries of each row, the smallest first."""
    if sizes.device.type != "cpu":
        return sizes.argsort(dim=-1, stable=True)
    # Several times as fast.
    return torch.from_numpy(np.argsort(sizes.numpy(), axis=-1))


def _same(matrix: torch.Tensor) -> torch.Tensor:
    return matrix
