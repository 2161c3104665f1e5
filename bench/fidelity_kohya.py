"""The merges of kohya's sd-scripts, from their published formulas; the scripts themselves are not run.

`merge_lora.py` joins factors scaled by sqrt(alpha / alpha of the first) * ratio, on both sides, and writes
the alpha of the first; without `--concat` it adds them instead of joining. `svd_merge_lora.py` takes the
singular value decomposition of the weighted sum and clamps both factors at the 99 % quantile of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from pathlib import Path

import torch

from bench.fidelity_cases import Case, Deltas, Source
from bench.fidelity_figures import Refused, Tool

_QUANTILE = 0.99
Factors = tuple[torch.Tensor, torch.Tensor]
Join = Callable[[Sequence[torch.Tensor], int], torch.Tensor]


def tools() -> list[Tool]:
    """The three formulas."""
    return [
        Tool("kohya's formula, `merge_lora --concat`", partial(_by_factors, _joined)),
        Tool("kohya's formula, `merge_lora`", partial(_by_factors, _added)),
        Tool("kohya's formula, `svd_merge_lora`", _by_svd),
    ]


def _by_factors(join: Join, case: Case, folder: Path) -> Deltas:
    _require_plain(case)
    first = case.sources[0].alpha
    made = {}
    for module in case.base:
        ups, downs = [], []
        for source in case.sources:
            ratio = sqrt(source.alpha / first) * source.strength
            parts = source.of(module)
            ups.append(parts["up"].float() * abs(ratio))
            downs.append(parts["down"].float() * ratio)
        up, down = join(ups, 1), join(downs, 0)
        # As every loader scales it: the alpha that was written by the rank that is there.
        made[module] = first / down.shape[0] * up.double() @ down.double()
    return made


def _joined(factors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    return torch.cat(list(factors), dim=dim)


def _added(factors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    if len({factor.shape for factor in factors}) > 1:
        raise Refused("the formula needs equal ranks")
    return torch.stack(list(factors)).sum(0)


def _by_svd(case: Case, folder: Path) -> Deltas:
    _require_plain(case)
    rank = sum(source.rank for source in case.sources)
    made = {}
    for module in case.base:
        total = torch.stack([_product(source, module) for source in case.sources]).sum(0)
        u, s, vh = torch.linalg.svd(total, full_matrices=False)
        up, down = u[:, :rank] * s[:rank], vh[:rank]
        limit = torch.quantile(torch.cat([up.flatten(), down.flatten()]), _QUANTILE)
        up, down = up.clamp(-limit, limit), down.clamp(-limit, limit)
        made[module] = up.double() @ down.double()
    return made


def _product(source: Source, module: str) -> torch.Tensor:
    parts = source.of(module)
    return source.strength * source.scale * parts["up"].float() @ parts["down"].float()


def _require_plain(case: Case) -> None:
    for source in case.sources:
        if source.algo != "lora" or source.rslora:
            raise Refused("the formula is for LoRA with alpha / rank alone")
