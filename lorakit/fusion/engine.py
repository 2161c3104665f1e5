"""Fuse a weighted stack of adapters into a base, in memory.

`patches.py` has the arithmetic of one weight, `parallel.py` shares the weights among the cores.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter, DoraFormula
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.devices import full_float32
from lorakit.fusion.parallel import fuse_in_turn
from lorakit.fusion.patches import Patch, fuse_weight, iter_patches
from lorakit.fusion.plan import FusionPlan, plan_fusion, require_targets
from lorakit.stack import Stack, resolve_stack
from lorakit.strengths import Strength, as_strength, refuse_scheduled

Entries = Stack | Sequence[tuple[str | Path | Adapter, float | Strength]]


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
    if device.type == "cpu":
        touched = dict(fuse_in_turn(base, patched, dtype, dora))
    else:
        with full_float32():
            touched = {
                key: fuse_weight(
                    base.exact(key), patches, device, dtype or base.kept_dtype(key), dora
                )
                for key, patches in patched.items()
            }
    return FusedWeights(base, touched, plan, device, dtype)


def stream_fused(
    base: str | Path | Mapping[str, torch.Tensor],
    stack: Entries,
    *,
    dtype: torch.dtype | None = None,
    dora: DoraFormula = "trainer",
) -> Generator[tuple[str, torch.Tensor], None, None]:
    """As `fuse` on the CPU, one (key, tensor) at a time in the base's order; none is held.

    For a consumer that keeps nothing, memory stays at a few of the largest weights.
    """
    tensors, _, patched = _prepare(base, stack, dora)
    ready = fuse_in_turn(tensors, {k: patched[k] for k in tensors if k in patched}, dtype, dora)
    with closing(ready):
        for key in tensors:
            yield next(ready) if key in patched else (key, untouched(tensors, key, dtype))


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
    adapters = load_entries(stack)
    refuse_scheduled(strength for _, strength in adapters)
    plan = plan_fusion(
        tensors.modules, [(a.path.stem, strength, a.report) for a, strength in adapters]
    )
    require_targets(plan)
    return tensors, plan, dict(iter_patches(tensors, plan, adapters))


def load_entries(stack: Entries) -> list[tuple[Adapter, Strength]]:
    """Every entry's adapter, read from its file where it is not in memory, with its strength.

    Raises `NotFound`, `BadFile` or `NotFusable`, naming the file.
    """
    if isinstance(stack, Stack):
        found = resolve_stack(stack, None)
        return [(load_adapter(entry.path), entry.strength) for entry in found]
    return [
        (item if isinstance(item, Adapter) else load_adapter(item), as_strength(strength))
        for item, strength in stack
    ]
