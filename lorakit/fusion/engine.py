"""Fuse a weighted stack of adapters into a base, in memory.

Every delta is taken against the pristine weight, all are summed in float32 (float64 for a float64
base) and the sum is rounded to the stored dtype once. The factors of a module's entries are joined
along the rank, so that a module costs one matrix product however many adapters touch it:
W' = W + [s1 B1 | s2 B2 | ...] [A1; A2; ...].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.plan import FusionPlan, plan_fusion
from lorakit.stack import Stack, resolve_stack

Dora = Literal["trainer", "comfyui"]
Entries = Stack | Sequence[tuple[str | Path | Adapter, float]]


# Rows of a weight that are worked on at once on a CPU: 2 MB of float32 at a width of 2048.
STRIP_ROWS = 256


@dataclass(frozen=True)
class Patch:
    """One entry's part in a module: its patch and its strength."""

    module: AdapterModule
    strength: float


class FusedWeights(Mapping[str, torch.Tensor]):
    """The fused base, read-only, under the base file's own key names, in memory only.

    Touched weights are tensors of their own; the others are views of the base as it was given, moved
    to `device` and cast to `dtype` when they are asked for. Dropping it un-applies the stack: the base
    is never written to.
    """

    def __init__(
        self,
        base: BaseTensors,
        touched: Mapping[str, torch.Tensor],
        plan: FusionPlan,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        self._base = base
        self._touched = touched
        self._device = device
        self._dtype = dtype
        self.plan = plan

    @property
    def prefix(self) -> str:
        """What stands before `blocks.0...` in the keys."""
        return self._base.prefix

    @property
    def touched(self) -> frozenset[str]:
        """The keys whose values differ from the base's."""
        return frozenset(self._touched)

    def by_canonical_name(self) -> dict[str, torch.Tensor]:
        """The transformer and text adapter under canonical names (`blocks.0.mlp.layer1.weight`)."""
        return {name: self[key] for name, key in self._base.names.items()}

    def __getitem__(self, key: str) -> torch.Tensor:
        found = self._touched.get(key)
        if found is not None:
            return found
        tensor = self._base[key]
        dtype = self._dtype if tensor.is_floating_point() else None
        return tensor.to(self._device, dtype or tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)


def fuse(
    base: str | Path | Mapping[str, torch.Tensor],
    stack: Entries,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    dora: Dora = "trainer",
) -> FusedWeights:
    """Apply `stack` to `base` and hold the result in memory.

    `base` is a checkpoint file or a mapping of its tensors; `stack` a `Stack` whose names are paths, or
    (path or Adapter, strength) pairs. Results lie on `device` in `dtype`, or in the dtype each weight is
    stored in (8-bit float weights become bfloat16, since a delta is lost in an 8-bit grid). `dora` picks
    the formula of a magnitude; no algorithm that this version applies has one.

    Raises `BadFile`, `NotFound` or `NotFusable`, naming the file and module.
    """
    if dora not in ("trainer", "comfyui"):
        raise BadUsage(f"dora is {dora!r}; it must be 'trainer' or 'comfyui'.")
    tensors = open_base(base)
    adapters = _load(stack)
    plan = plan_fusion(
        tensors.modules, [(a.path.stem, strength, a.report) for a, strength in adapters]
    )
    target = torch.device(device)
    touched = {
        key: fuse_weight(tensors[key], patches, target, dtype)
        for key, patches in iter_patches(tensors, plan, adapters)
    }
    return FusedWeights(tensors, touched, plan, target, dtype)


def iter_patches(
    base: BaseTensors, plan: FusionPlan, adapters: Sequence[tuple[Adapter, float]]
) -> Iterator[tuple[str, list[Patch]]]:
    """For each key of the base that changes, the patches on it, in the order of the base's keys."""
    by_module: dict[str, list[Patch]] = {}
    for entry, (adapter, _) in zip(plan.entries, adapters, strict=True):
        for source, module in entry.targets.items():
            # Strength 0 leaves every byte as it was, so it is left out before any arithmetic.
            if strength := entry.strength_for(source):
                by_module.setdefault(module, []).append(Patch(adapter.modules[source], strength))
    for module in plan.base.shapes:
        if module in by_module:
            yield f"{base.prefix}{module}.weight", by_module[module]


def fuse_weight(
    weight: torch.Tensor,
    patches: Sequence[Patch],
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """`weight` (out, in) plus the weighted deltas of `patches`, rounded once to `dtype` on `device`."""
    work = work_dtype(weight)
    ups, downs, rest = [], [], []
    for patch in patches:
        factors = patch.module.low_rank()
        if factors is None:
            rest.append(patch)
            continue
        ups.append(factors.up.to(device, work) * (patch.strength * factors.scale))
        downs.append(factors.down.to(device, work))
    result = dtype or stored_dtype(weight)
    if ups and not rest:
        return _add_product(weight.to(device), torch.cat(ups, 1), torch.cat(downs, 0), result)
    pristine = weight.to(device, work)
    total = torch.addmm(pristine, torch.cat(ups, 1), torch.cat(downs, 0)) if ups else pristine
    for patch in rest:
        total = total + patch.strength * patch.module.delta(pristine)
    return total.to(result)


def _add_product(
    weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """`weight + up @ down` in the dtype of the factors, rounded once to `dtype`.

    On the CPU a strip of rows at a time, whose float32 copy stays in the cache: large temporaries cost
    more there than the arithmetic.
    """
    rows = weight.shape[0] if weight.is_cuda else STRIP_ROWS
    result = torch.empty_like(weight, dtype=dtype)
    strip = torch.empty(
        min(rows, weight.shape[0]), weight.shape[1], dtype=up.dtype, device=up.device
    )
    for start in range(0, weight.shape[0], rows):
        piece = slice(start, start + rows)
        total = strip[: weight[piece].shape[0]]
        total.copy_(weight[piece]).addmm_(up[piece], down)
        result[piece] = total
    return result


def work_dtype(weight: torch.Tensor) -> torch.dtype:
    """float32, or float64 for a float64 weight: what deltas of `weight` are summed in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def stored_dtype(weight: torch.Tensor) -> torch.dtype:
    """The dtype a fused weight is kept in: the base's own, but bfloat16 for 8-bit floats."""
    return torch.bfloat16 if weight.itemsize == 1 else weight.dtype


def _load(stack: Entries) -> list[tuple[Adapter, float]]:
    if isinstance(stack, Stack):
        found = resolve_stack(stack, None)
        return [(load_adapter(entry.path), entry.strength) for entry in found]
    return [
        (item if isinstance(item, Adapter) else load_adapter(item), float(strength))
        for item, strength in stack
    ]
