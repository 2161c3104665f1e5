"""TIES-Merging: trim, elect sign, disjoint merge (Yadav et al., arXiv:2306.01708).

With task vectors τ_t: trim keeps the `density` largest entries of each by magnitude, τ̂_t; elect takes
γ = sgn(Σ_t τ̂_t) entry by entry; the merged entry is the mean of those τ̂_t that are not zero and have the
sign γ; the result is times `scale`. The paper trims over the whole model, this over each weight matrix, as
mergekit and PEFT do. A task vector here is strength times delta.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.merging.methods.settings import Dense, Settings


def ties(changes: Sequence[Dense], settings: Settings) -> torch.Tensor:
    """The merged matrix of `changes`, all of one shape, in their dtype."""
    density = settings.number("density")
    trimmed = [trim(change(), density) for change in changes]
    return elect_and_merge(trimmed).mul_(settings.number("scale"))


def trim(matrix: torch.Tensor, density: float) -> torch.Tensor:
    """`matrix` with all but the share `density` of its largest entries, by magnitude, set to zero."""
    kept = round(density * matrix.numel())
    if kept >= matrix.numel():
        return matrix
    if kept < 1:
        return torch.zeros_like(matrix)
    sizes = matrix.abs()
    least = sizes.flatten().kthvalue(matrix.numel() - kept + 1).values
    return torch.where(sizes >= least, matrix, 0)


def elect_and_merge(changes: Sequence[torch.Tensor]) -> torch.Tensor:
    """For each entry the mean of those changes that have the sign of the sum and are not zero."""
    sign = torch.zeros_like(changes[0])
    for change in changes:
        sign += change
    sign.sign_()
    total, count = torch.zeros_like(sign), torch.zeros_like(sign)
    for change in changes:
        agrees = (change * sign) > 0
        total += torch.where(agrees, change, 0)
        count += agrees
    return total.div_(count.clamp_(min=1))
