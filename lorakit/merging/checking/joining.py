"""Thin factors of several entries laid side by side, so that two Gram matrices serve every pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from lorakit.adapters.adapter import LowRank
from lorakit.merging.checking.changes import Form
from lorakit.merging.checking.overlap import Joined
from lorakit.merging.checking.thinning import thinned
from lorakit.merging.cores import gram_of_columns


def with_directions(
    forms: Sequence[Form | None], thin: Joined | None
) -> tuple[Joined | None, list[int]]:
    """`thin` together with the leading directions of the changes of other forms, and the places of those
    that need too many.

    Nothing is done where fewer than two entries change the module.
    """
    present = [(at, form) for at, form in enumerate(forms) if form is not None]
    others = [at for at, form in present if not isinstance(form, LowRank)]
    if not others or len(present) < 2:
        return thin, []
    found = [(at, thinned(form)) for at, form in present]
    kept = [(at, one) for at, one in found if one is not None]
    if not kept:
        return None, others
    joined = join([(at, one.factors) for at, one in kept])
    energies = {place: one.energy for place, (at, one) in enumerate(kept) if at in others}
    return replace(joined, energies=energies), [at for at, one in found if one is None]


def join(thin: Sequence[tuple[int, LowRank]]) -> Joined:
    """The factors of some entries, by place."""
    ups = _beside([form.up for _, form in thin], 1)
    downs = _beside([form.down for _, form in thin], 0)
    return Joined(
        tuple(at for at, _ in thin),
        tuple(form.up.shape[1] for _, form in thin),
        tuple(form.scale for _, form in thin),
        (ups.shape[0], downs.shape[1]),
        gram_of_columns(ups).cpu(),
        gram_of_columns(downs.T).cpu(),
    )


def _beside(parts: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """`parts` joined and in float32; cast once where they are stored alike."""
    if len({part.dtype for part in parts}) == 1:
        return torch.cat(list(parts), dim).float()
    return torch.cat([part.float() for part in parts], dim)
