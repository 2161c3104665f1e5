"""The arithmetic of one weight and the patches that a stack has for it.

Every delta is taken against the pristine weight, all are summed in float32 (float64 for a float64
base) and the sum is rounded to the stored dtype once. The factors of a module's entries are joined
along the rank, so that a module costs one matrix product however many adapters touch it:
W' = W + [s1 B1 | s2 B2 | ...] [A1; A2; ...].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule, DoraFormula
from lorakit.errors import NotFusable
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.plan import FusionPlan
from lorakit.fusion.products import add_product
from lorakit.strengths import Strength


@dataclass(frozen=True)
class Patch:
    """One entry's part in a tensor of the base: its patch, its strength, and how errors call it."""

    module: AdapterModule
    strength: float
    name: str


def iter_patches(
    base: BaseTensors, plan: FusionPlan, adapters: Sequence[tuple[Adapter, Strength]]
) -> Iterator[tuple[str, list[Patch]]]:
    """For each key of the base that changes, the patches on it, in the order of the base's keys."""
    by_tensor: dict[str, list[Patch]] = {}
    for entry, (adapter, _) in zip(plan.entries, adapters, strict=True):
        for source, module in entry.targets.items():
            # Strength 0 leaves every byte as it was, so it is left out before any arithmetic.
            if not (strength := entry.strength_for(source)):
                continue
            for leaf, patches in (("weight", adapter.modules), ("bias", adapter.biases)):
                if source in patches:
                    patch = Patch(patches[source], strength, f"{source} of {adapter.path.name}")
                    by_tensor.setdefault(f"{module}.{leaf}", []).append(patch)
    absent = next((name for name in by_tensor if name not in base.names), None)
    if absent is not None:
        raise NotFusable(
            f"{by_tensor[absent][0].name} changes {absent}, which {plan.base.label} does not have.",
            hint="The adapter was trained on another model.",
        )
    for name, key in base.names.items():
        if name in by_tensor:
            yield key, by_tensor[name]


def fuse_weight(
    weight: torch.Tensor,
    patches: Sequence[Patch],
    device: torch.device,
    dtype: torch.dtype,
    dora: DoraFormula = "trainer",
) -> torch.Tensor:
    """`weight` plus the weighted deltas of `patches`, rounded once to `dtype` on `device`.

    Raises `NotFusable` for a patch that does not fit the weight.
    """
    work = work_dtype(weight)
    rest = [patch for patch in patches if patch.module.low_rank() is None]
    up, down = join_factors(patches, device, work)
    if not rest:
        return add_product(weight.to(device), up, down, dtype)
    pristine = weight.to(device, work)
    total = torch.addmm(pristine, up, down.to(work)) if len(down) else pristine
    for patch in rest:
        total = total + patch.strength * entry_delta(patch, pristine, dora)
    return total.to(dtype)


def join_factors(
    patches: Sequence[Patch], device: torch.device, work: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """The low-rank patches as one product: up (out, rank) in `work`, times strength and scale, and down
    (rank, in), in the dtype that all have or else in `work`. Without any the rank is 0.
    """
    found = [(p.strength, pair) for p in patches if (pair := p.module.low_rank()) is not None]
    if not found:
        return torch.empty(0, 0), torch.empty(0, 0)
    ranks = torch.tensor([pair.down.shape[0] for _, pair in found])
    scales = torch.tensor([strength * pair.scale for strength, pair in found], dtype=work)
    up = _joined([pair.up for _, pair in found], 1, device, work).to(work)
    down = _joined([pair.down for _, pair in found], 0, device, work)
    return up * scales.repeat_interleave(ranks).to(device), down


def _joined(
    parts: Sequence[torch.Tensor], axis: int, device: torch.device, work: torch.dtype
) -> torch.Tensor:
    """`parts` side by side in their one dtype, which is the least to move, or else in `work`."""
    alike = len({part.dtype for part in parts}) == 1
    return torch.cat([part.to(device, part.dtype if alike else work) for part in parts], axis)


def entry_delta(
    patch: Patch, pristine: torch.Tensor, dora: DoraFormula = "trainer"
) -> torch.Tensor:
    """The change of `pristine` at strength 1, in its shape. Raises `NotFusable` when it does not fit."""
    try:
        delta = patch.module.delta(pristine, dora)
        if delta.numel() == pristine.numel():
            return delta.reshape(pristine.shape)
        found = f"its change has shape {list(delta.shape)}"
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        found = str(error).splitlines()[0]
    raise NotFusable(
        f"{patch.name} does not fit a weight of {list(pristine.shape)}: {found}.",
        hint="The adapter was trained on another model, or its file is damaged.",
    )


def work_dtype(weight: torch.Tensor) -> torch.dtype:
    """float32, or float64 for a float64 weight: what deltas of `weight` are summed in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
