"""How large an entry's change is next to the base, and how much of it rounding takes away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.patches import Patch, entry_delta, iter_patches
from lorakit.fusion.plan import plan_fusion
from lorakit.fusion.products import work_dtype
from lorakit.strengths import Strength

# Rows of each weight that are measured, spread evenly; their mean is the weight's to about a per cent.
SAMPLED_ROWS = 256

DTYPES: Mapping[str, torch.dtype | None] = MappingProxyType(
    {"auto": None, "bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class EntrySize:
    """`relative_touched`: ||delta|| / ||W|| over the weights that the entry touches, Frobenius norms.

    `lost`: ||round(W + delta) - (W + delta)|| / ||delta||, the part of the change that rounding the sum
    to the dtype puts wrong when the entry is fused alone.
    """

    relative_touched: float
    lost: float


def parse_dtype(text: str) -> torch.dtype | None:
    """The dtype called bf16, fp16 or fp32; None for auto. Raises `BadUsage` for another word."""
    if text not in DTYPES:
        raise BadUsage(f"{text!r} is no dtype to round to.", hint=f"Give {', '.join(DTYPES)}.")
    return DTYPES[text]


def measure_sizes(
    base: Path | Mapping[str, torch.Tensor],
    entries: Sequence[tuple[str | Path, Strength]],
    *,
    dtype: torch.dtype | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> list[EntrySize]:
    """The size of each entry's change at its strength, from up to `SAMPLED_ROWS` rows of each weight.

    `dtype` is what the sums are rounded to, None for what each is kept in. Raises as `lorakit.fuse`
    does. An entry that changes nothing has size 0.
    """
    tensors = open_base(base)
    adapters = [(load_adapter(path), strength) for path, strength in entries]
    return [_measure(tensors, *entry, dtype, on_progress) for entry in adapters]


def _measure(
    base: BaseTensors,
    adapter: Adapter,
    strength: Strength,
    dtype: torch.dtype | None,
    on_progress: Progress,
) -> EntrySize:
    plan = plan_fusion(base.modules, [(adapter.path.stem, strength, adapter.report)])
    work = list(iter_patches(base, plan, [(adapter, strength)]))
    weights = deltas = errors = 0.0
    for done, (key, patches) in enumerate(work, start=1):
        kept = dtype or base.kept_dtype(key)
        weight, delta = _sampled(base.exact(key), patches[0])
        total = weight + delta
        weights += float(weight.square().sum())
        deltas += float(delta.square().sum())
        errors += float((total.to(kept).to(total.dtype) - total).square().sum())
        on_progress(done, len(work), adapter.path.stem)
    if not deltas or not weights:
        return EntrySize(0.0, 0.0)
    return EntrySize((deltas / weights) ** 0.5, (errors / deltas) ** 0.5)


def _sampled(stored: torch.Tensor, patch: Patch) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of a weight and of the change that one patch makes to them, at its strength."""
    step = max(1, stored.shape[0] // SAMPLED_ROWS)
    dtype = work_dtype(stored)
    factors = patch.module.low_rank()
    if factors is None:
        weight = stored.to(dtype)
        return weight[::step], patch.strength * entry_delta(patch, weight)[::step]
    rows = stored[::step].to(dtype)
    up = factors.up[::step].to(dtype) * (patch.strength * factors.scale)
    return rows, up @ factors.down.to(dtype)
