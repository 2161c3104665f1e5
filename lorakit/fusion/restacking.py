"""One stack after another in the same weights: what differs is fused again, from the pristine base.

Two ways: `RewrittenWeights` reads each weight that differs from the base, wherever that lies, and keeps
nothing; `LiveStack` holds pristine weights and factors on the device, and is there in milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Literal, Protocol

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.devices import full_float32
from lorakit.fusion.engine import fuse_patches
from lorakit.fusion.live import LiveFusion
from lorakit.fusion.live_memory import DoesNotFit
from lorakit.fusion.parallel import fuse_in_turn
from lorakit.fusion.patches import Patch, fuse_weight, iter_patches
from lorakit.fusion.plan import FusionPlan, plan_fusion, require_targets
from lorakit.strengths import Strength

Stacked = Sequence[tuple[Adapter, Strength]]
Engine = Literal["live", "rewrite"]
Mark = tuple[tuple[int, float], ...]


class StackWeights(Protocol):
    """The weights of one stack after another, by canonical names; `reason` says how they are held.

    A plan's entries are those of the stack beside it, and the strengths that count are the plan's.
    """

    reason: str

    def start(self, plan: FusionPlan, stack: Stacked) -> dict[str, torch.Tensor]:
        """All weights of the first stack."""
        ...

    def change(self, plan: FusionPlan, stack: Stacked) -> Iterator[tuple[str, torch.Tensor]]:
        """Each weight that has changed since, good until the next is asked for.

        Raises `NotFusable` for an adapter that does not fit; what was not given by then is given by
        the next call.
        """
        ...


class RewrittenWeights:
    """Fuses each weight that differs again, with `lorakit.fuse`'s own arithmetic and so its bytes.

    It holds the base, which stays mapped, and one weight at a time. Every algorithm and every base
    that can be fused at all can be changed.
    """

    def __init__(
        self,
        base: BaseTensors,
        changing: Collection[str],
        *,
        device: str,
        held: torch.dtype,
        reason: str,
    ) -> None:
        """`changing` are the tensors (canonical names) that some stack touches; `held` is the dtype
        that the model holds its weights in."""
        self.reason = reason
        self._base = base.keeping(changing)
        self._changing = changing
        self._device = torch.device(device)
        self._held = held
        # What is in each weight now; None where a write was broken off.
        self._done: dict[str, Mark | None] = {}

    def start(self, plan: FusionPlan, stack: Stacked) -> dict[str, torch.Tensor]:
        """All weights of the first stack; those that may change own their memory."""
        patched = dict(iter_patches(self._base, plan, stack))
        weights = fuse_patches(self._base, plan, patched, self._device).by_canonical_name()
        self._done = {key: _mark(patches) for key, patches in patched.items()}
        for name in self._changing:
            key = self._base.names[name]
            # A model takes a tensor of its own dtype as it is, and the base must not be written to.
            if key not in patched and weights[name].dtype == self._held:
                weights[name] = weights[name].clone()
        return weights

    def change(self, plan: FusionPlan, stack: Stacked) -> Iterator[tuple[str, torch.Tensor]]:
        """See `StackWeights`."""
        names = {key: name for name, key in self._base.names.items()}
        patched = dict(iter_patches(self._base, plan, stack))
        wanted = {key: _mark(patches) for key, patches in patched.items()}
        changed = [
            key
            for key, name in names.items()
            if name in self._changing and wanted.get(key, ()) != self._done.get(key, ())
        ]
        with closing(self._fused({key: patched.get(key, []) for key in changed})) as ready:
            for key, tensor in ready:
                self._done[key] = None
                yield names[key], tensor
                self._done[key] = wanted.get(key, ())

    def _fused(
        self, patched: Mapping[str, Sequence[Patch]]
    ) -> Generator[tuple[str, torch.Tensor], None, None]:
        touched = {key: patches for key, patches in patched.items() if patches}
        yield from ((key, self._base[key]) for key in patched if key not in touched)
        if self._device.type == "cpu":
            yield from fuse_in_turn(self._base, touched, None)
        else:
            yield from ((key, self._on_device(key, touched[key])) for key in touched)

    def _on_device(self, key: str, patches: Sequence[Patch]) -> torch.Tensor:
        kept = self._base.kept_dtype(key)
        try:
            with full_float32():
                return fuse_weight(self._base.exact(key), patches, self._device, kept)
        except torch.OutOfMemoryError:
            # Beside a loaded model there may be no room; the sum is then made where there is.
            return fuse_weight(self._base.exact(key), patches, torch.device("cpu"), kept)


def _mark(patches: Sequence[Patch]) -> Mark:
    """What tells two lists of patches apart, as long as the adapters live."""
    return tuple((id(patch.module), patch.strength) for patch in patches)


class LiveStack:
    """`LiveFusion` behind the same face, for the union of all stacks' adapters."""

    def __init__(
        self,
        base: BaseTensors,
        adapters: Sequence[Adapter],
        *,
        device: str,
        memory_limit: int | None = None,
    ) -> None:
        """Load everything. Raises `DoesNotFit` when the device is too small."""
        self._live = LiveFusion(base, adapters, device=device, memory_limit=memory_limit)
        self.reason = self._live.mode_reason
        self._index = {id(adapter): index for index, adapter in enumerate(adapters)}
        self._weights = self._live.by_canonical_name()
        self._due: dict[str, None] = {}

    def start(self, plan: FusionPlan, stack: Stacked) -> dict[str, torch.Tensor]:
        """All weights of the first stack: the live tensors themselves where a stack touches them."""
        for _ in self.change(plan, stack):
            pass
        return dict(self._weights)

    def change(self, plan: FusionPlan, stack: Stacked) -> Iterator[tuple[str, torch.Tensor]]:
        """See `StackWeights`; one file in several entries counts with the sum of its strengths."""
        table: dict[tuple[int, str], float] = {}
        for entry, (adapter, _) in zip(plan.entries, stack, strict=True):
            for source, target in entry.targets.items():
                at = self._index[id(adapter)], target
                table[at] = table.get(at, 0.0) + entry.strength_for(source)
        done = self._live.set_strengths(lambda entry, module: table.get((entry, module), 0.0))
        self._due.update(dict.fromkeys(done.tensors))
        for name in tuple(self._due):
            yield name, self._weights[name]
            del self._due[name]


def plan_stack(base: BaseTensors, stack: Stacked) -> FusionPlan:
    """The plan of `stack`. Raises as `plan_fusion`, and `NotFusable` for an entry with nothing to do."""
    entries = [(adapter.path.stem, strength, adapter.report) for adapter, strength in stack]
    plan = plan_fusion(base.modules, entries)
    require_targets(plan)
    return plan


def hold_stacks(
    base: BaseTensors,
    adapters: Sequence[Adapter],
    *,
    device: str,
    held: torch.dtype,
    engine: Engine,
    memory_limit: int | None = None,
) -> StackWeights:
    """Weights for any stack of `adapters`: on the live engine where that is asked for and can be.

    `held` is the dtype that the model holds its weights in, `memory_limit` what the live engine may
    take. Raises `NotFusable` for an adapter that does not fit the base.
    """
    whole = [(adapter, Strength(1.0)) for adapter in adapters]
    plan = plan_stack(base, whole)
    if engine == "rewrite":
        reason = "Weights that differ are fused again from the base, one at a time."
    elif base.scaled:
        # Its pristine copy would be rounded to bfloat16 before anything is added to it.
        reason = "The base is in scaled 8-bit floats, so weights are fused again one at a time."
    else:
        try:
            return LiveStack(base, adapters, device=device, memory_limit=memory_limit)
        except (DoesNotFit, torch.OutOfMemoryError) as error:
            reason = f"{error} So weights are fused again one at a time."
    names = {key: name for name, key in base.names.items()}
    changing = {names[key] for key, _ in iter_patches(base, plan, whole)}
    return RewrittenWeights(base, changing, device=device, held=held, reason=reason)
