"""The arithmetic of one weight and the patches that a stack has for it.

Every delta is taken against the pristine weight, all are summed in float32 (float64 for a float64
base) and the sum is rounded to the stored dtype once. The factors of a module's entries are joined
along the rank, so that a module costs one matrix product however many adapters touch it:
W' = W + [s1 B1 | s2 B2 | ...] [A1; A2; ...].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule, DoraFormula, LowRank
from lorakit.errors import NotFusable
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.plan import FusionPlan
from lorakit.fusion.products import add_products, join_factors, work_dtype
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
    thin, rest = _sorted_out(patches)
    if not rest:
        return add_products(weight.to(device), thin, dtype)
    pristine = weight.to(device, work_dtype(weight))
    total = pristine
    if thin:
        total = torch.addmm(pristine, *join_factors(thin, pristine))
    for patch in rest:
        total = total + patch.strength * entry_delta(patch, pristine, dora)
    return total.to(dtype)


def _sorted_out(patches: Sequence[Patch]) -> tuple[list[LowRank], list[Patch]]:
    """The low-rank patches with their strength in the scale, and the others."""
    thin, rest = [], []
    for patch in patches:
        factors = patch.module.low_rank()
        if factors is None:
            rest.append(patch)
        else:
            thin.append(replace(factors, scale=patch.strength * factors.scale))
    return thin, rest


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
