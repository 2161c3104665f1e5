"""TIES-Merging: trim, elect sign, disjoint merge (Yadav et al., arXiv:2306.01708).

With task vectors τ_t: trim keeps the `density` largest entries of each by magnitude, τ̂_t; elect takes
γ = sgn(Σ_t τ̂_t) entry by entry; the merged entry is the mean of those τ̂_t that are not zero and have the
sign γ; the result is times `scale`. The paper trims over the whole model, this over each weight matrix, as
mergekit and PEFT do. A task vector here is strength times delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from lorakit.merging.methods.settings import Dense, Settings


def ties(changes: Sequence[Dense], settings: Settings) -> torch.Tensor:
    """The merged matrix of `changes`, all of one shape, in their dtype."""
    least = [smallest_kept(change(), settings.number("density")) for change in changes]
    # Computed anew each time it is asked for, so that one is held at a time.
    trimmed = [partial(_trimmed, *pair) for pair in zip(changes, least, strict=True)]
    return elect_and_merge(trimmed).mul_(settings.number("scale"))


def smallest_kept(matrix: torch.Tensor, density: float) -> float:
    """The size of the smallest of the share `density` of the largest entries of `matrix`, one at least."""
    dropped = matrix.numel() - max(1, round(density * matrix.numel()))
    if dropped == 0:
        return 0.0
    sizes = matrix.abs().flatten()
    if sizes.device.type != "cpu":
        return float(sizes.kthvalue(dropped + 1).values)
    # Several times as fast.
    return float(np.partition(sizes.numpy(), dropped)[dropped])


def elect_and_merge(changes: Sequence[Dense]) -> torch.Tensor:
    """For each entry the mean of those changes that have the sign of the sum and are not zero."""
    sign = changes[0]().clone()
    for change in changes[1:]:
        sign += change()
    sign.sign_()
    total, count = torch.zeros_like(sign), torch.zeros_like(sign)
    for change in changes:
        matrix = change()
        agrees = (matrix * sign) > 0
        total += torch.where(agrees, matrix, 0)
        count += agrees
    return total.div_(count.clamp_(min=1))


def _trimmed(change: Dense, least: float) -> torch.Tensor:
    matrix = change()
    return torch.where(matrix.abs() >= least, matrix, 0)
