"""Which strengths explain a change: of entries that are known, in an adapter or a checkpoint that is at hand.

The difference D of what is there and of what the entries give at their strengths, taken together over all
weights, is fitted by the entries' own changes E_i: the e_i that minimise ‖D - Σ e_i E_i‖ solve G e = c with
G_ij = ⟨E_i, E_j⟩ and c_i = ⟨D, E_i⟩. An entry then looks like 1 + e_i times its strength. All of it needs
only inner products, which thin factors give without forming a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch

from lorakit.formats import anima

# Gains that differ by less are shown as one.
_ALIKE = 0.02


@dataclass(frozen=True)
class Products:
    """Inner products over one weight, float64: `gram` (k, k) of the entries' changes, `with_error` (k,) of
    these with the difference D, and `error` = ‖D‖²."""

    module: str
    gram: torch.Tensor
    with_error: torch.Tensor
    error: float


@dataclass(frozen=True)
class BlockSpan:
    """Neighbouring blocks, "0-9" or "llm_adapter", in which an entry has `gain` times its strength."""

    blocks: str
    gain: float


@dataclass(frozen=True)
class FitByBlock:
    """For each entry where it has which gain, and what is unexplained then, relative to the change."""

    spans: tuple[tuple[BlockSpan, ...], ...]
    unexplained: float


@dataclass(frozen=True)
class Fit:
    """`gains` (k,): how many times the stated strength each entry looks like, and how many standard errors
    from 1 (`deviations`). `gain` is that of all together. `error` is ‖D‖ and `unexplained` what is left of
    it after the fit, both relative to the change that is expected. `worst` are the modules with the largest
    part of ‖D‖², with their shares; `by_block` is the same fit of each block alone.
    """

    gains: tuple[float, ...]
    deviations: tuple[float, ...]
    gain: float
    error: float
    unexplained: float
    worst: tuple[tuple[str, float], ...]
    by_block: FitByBlock


def fit(found: Sequence[Products], values: int) -> Fit:
    """Join the products of all weights. `values` is how many numbers D was rounded in, for the errors."""
    gram = torch.stack([one.gram for one in found]).sum(0)
    with_error = torch.stack([one.with_error for one in found]).sum(0)
    error = sum(one.error for one in found)
    size = float(gram.sum())
    shifts = torch.linalg.pinv(gram, hermitian=True) @ with_error
    left = error - 2 * float(shifts @ with_error) + float(shifts @ gram @ shifts)
    noise = (gram.diagonal() * max(left, 0.0) / max(values, 1)).sqrt()
    apart = torch.where(noise > 0, with_error.abs() / noise, with_error.abs() * torch.inf)
    worst = sorted(found, key=lambda one: -one.error)[:8]
    return Fit(
        tuple((1 + shifts).tolist()),
        tuple(torch.nan_to_num(apart, nan=0.0, posinf=1e300).tolist()),
        1 + float(with_error.sum()) / size if size else 1.0,
        sqrt(error / size) if size else sqrt(error),
        sqrt(max(left, 0.0) / size) if size else sqrt(max(left, 0.0)),
        tuple((one.module, one.error / error) for one in worst if one.error),
        fit_by_block(found),
    )


def fit_by_block(found: Sequence[Products]) -> FitByBlock:
    """Fit the entries' strengths to the products of each block alone, and of what is outside the blocks."""
    groups: dict[int | str, list[Products]] = {}
    for one in found:
        block = anima.block_of(one.module)
        groups.setdefault(anima.component_of(one.module) if block is None else block, []).append(
            one
        )
    left = size = 0.0
    gains: dict[int | str, list[float | None]] = {}
    for place in sorted(groups, key=lambda place: (isinstance(place, str), place)):
        gram = torch.stack([one.gram for one in groups[place]]).sum(0)
        with_error = torch.stack([one.with_error for one in groups[place]]).sum(0)
        shifts = torch.linalg.pinv(gram, hermitian=True) @ with_error
        left += sum(one.error for one in groups[place]) - float(shifts @ with_error)
        size += float(gram.sum())
        touched = gram.diagonal() > 0
        gains[place] = [
            1 + float(shift) if there else None
            for shift, there in zip(shifts, touched, strict=True)
        ]
    count = len(next(iter(gains.values()), ()))
    spans = tuple(_spans({place: gains[place][entry] for place in gains}) for entry in range(count))
    return FitByBlock(spans, sqrt(max(left, 0.0) / size) if size else sqrt(max(left, 0.0)))


def _spans(gains: dict[int | str, float | None]) -> tuple[BlockSpan, ...]:
    """Neighbours with nearly the same gain as one; their gain is that of the first."""
    runs: list[tuple[list[int | str], float]] = []
    for place, gain in gains.items():
        if gain is None:
            continue
        near = runs and abs(runs[-1][1] - gain) <= _ALIKE * max(1.0, abs(gain))
        follows = near and isinstance(place, int) and runs[-1][0][-1] == place - 1
        if follows:
            runs[-1][0].append(place)
        else:
            runs.append(([place], gain))
    return tuple(BlockSpan(_named(places), gain) for places, gain in runs)


def _named(places: Sequence[int | str]) -> str:
    return str(places[0]) if len(places) == 1 else f"{places[0]}-{places[-1]}"
