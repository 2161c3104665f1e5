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

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule, DoraFormula
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage, NotFusable
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.plan import FusionPlan, plan_fusion, require_targets
from lorakit.fusion.products import add_product
from lorakit.stack import Stack, resolve_stack
from lorakit.strengths import Strength, as_strength, refuse_scheduled

_CPU = torch.device("cpu")
Entries = Stack | Sequence[tuple[str | Path | Adapter, float | Strength]]


@dataclass(frozen=True)
class Patch:
    """One entry's part in a tensor of the base: its patch, its strength, and how errors call it."""

    module: AdapterModule
    strength: float
    name: str


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
        return untouched(self._base, key, self._dtype).to(self._device)

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
    dora: DoraFormula = "trainer",
) -> FusedWeights:
    """Apply `stack` to `base` and hold the result in memory.

    `base` is a checkpoint file or a mapping of its tensors; `stack` a `Stack` whose names are paths, or
    (path or Adapter, strength) pairs. Results lie on `device` in `dtype`, or in the dtype each weight is
    stored in (8-bit float weights become bfloat16, since a delta is lost in an 8-bit grid). `dora` picks
    the formula of a magnitude: as trainers compute it, or as ComfyUI does (adapters/dora.py).

    Raises `BadFile`, `NotFound` or `NotFusable`, naming the file and module, and `BadUsage` for a
    strength that holds in some denoising steps only.
    """
    tensors, plan, patched = _prepare(base, stack, dora)
    return fuse_patches(tensors, plan, patched, torch.device(device), dtype, dora)


def fuse_patches(
    base: BaseTensors,
    plan: FusionPlan,
    patched: Mapping[str, Sequence[Patch]],
    device: torch.device,
    dtype: torch.dtype | None = None,
    dora: DoraFormula = "trainer",
) -> FusedWeights:
    """Carry out `plan`, whose patches of each key `iter_patches` gave."""
    touched = {
        key: fuse_weight(base.exact(key), patches, device, dtype or base.kept_dtype(key), dora)
        for key, patches in patched.items()
    }
    return FusedWeights(base, touched, plan, device, dtype)


def stream_fused(
    base: str | Path | Mapping[str, torch.Tensor],
    stack: Entries,
    *,
    dtype: torch.dtype | None = None,
    dora: DoraFormula = "trainer",
) -> Iterator[tuple[str, torch.Tensor]]:
    """As `fuse` on the CPU, one (key, tensor) at a time in the base's order; none is held.

    For a consumer that keeps nothing, memory stays at the largest weight and its float32 strip.
    """
    tensors, _, patched = _prepare(base, stack, dora)
    for key in tensors:
        wanted = dtype or tensors.kept_dtype(key)
        if key in patched:
            yield key, fuse_weight(tensors.exact(key), patched[key], _CPU, wanted, dora)
        else:
            yield key, untouched(tensors, key, dtype)


def untouched(base: BaseTensors, key: str, dtype: torch.dtype | None) -> torch.Tensor:
    """A tensor that no entry changes, in `dtype` where it is a float and one is asked for.

    A scaled 8-bit weight is rounded to `dtype` from its exact value, as touched ones are.
    """
    tensor = base[key]
    if dtype is None or not tensor.is_floating_point():
        return tensor
    return base.exact(key).to(dtype)


def _prepare(
    base: str | Path | Mapping[str, torch.Tensor], stack: Entries, dora: DoraFormula
) -> tuple[BaseTensors, FusionPlan, dict[str, list[Patch]]]:
    """Open, load, check and plan: the base, the plan, and the patches of each key that changes."""
    if dora not in ("trainer", "comfyui"):
        raise BadUsage(f"dora is {dora!r}; it must be 'trainer' or 'comfyui'.")
    tensors = open_base(base)
    adapters = _load(stack)
    refuse_scheduled(strength for _, strength in adapters)
    plan = plan_fusion(
        tensors.modules, [(a.path.stem, strength, a.report) for a, strength in adapters]
    )
    require_targets(plan)
    return tensors, plan, dict(iter_patches(tensors, plan, adapters))


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
    ups, downs, rest = [], [], []
    for patch in patches:
        factors = patch.module.low_rank()
        if factors is None:
            rest.append(patch)
            continue
        ups.append(factors.up.to(device, work) * (patch.strength * factors.scale))
        downs.append(factors.down.to(device, work))
    if ups and not rest:
        return add_product(weight.to(device), torch.cat(ups, 1), torch.cat(downs, 0), dtype)
    pristine = weight.to(device, work)
    total = torch.addmm(pristine, torch.cat(ups, 1), torch.cat(downs, 0)) if ups else pristine
    for patch in rest:
        total = total + patch.strength * entry_delta(patch, pristine, dora)
    return total.to(dtype)


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


def _load(stack: Entries) -> list[tuple[Adapter, Strength]]:
    if isinstance(stack, Stack):
        found = resolve_stack(stack, None)
        return [(load_adapter(entry.path), entry.strength) for entry in found]
    return [
        (item if isinstance(item, Adapter) else load_adapter(item), as_strength(strength))
        for item, strength in stack
    ]
