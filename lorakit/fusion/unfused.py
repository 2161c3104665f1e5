"""Strengths by step without fusing: the factors run beside the weights of a model.

For one case only, a device with too little memory to fuse a weight again between steps. Here y = W x
becomes y + s B (A x): the factors wait in main memory and come to the device one layer at a time, so
that nothing is held there. A layer costs two thin products more in every pass.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from lorakit.adapters.adapter import LowRank
from lorakit.errors import NotFusable
from lorakit.formats.anima import to_diffusers
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.plan import FusionPlan, PlanEntry
from lorakit.fusion.restacking import Stacked
from lorakit.fusion.steps import is_text
from lorakit.strengths import Strength


@dataclass(frozen=True)
class Beside:
    """What one entry adds to the output of one layer, in the steps in which `schedule` is active."""

    factors: LowRank
    strength: float
    schedule: Strength


class UnfusedSteps:
    """The entries of a stack whose strengths go by step, as hooks on a transformer's linear layers.

    `at(step)` says which step comes; `remove` takes the hooks off.
    """

    def __init__(self, transformer: nn.Module, plan: FusionPlan, stack: Stacked) -> None:
        """Hook on to diffusers' `transformer`, whose own weights are those of `without_steps(plan)`.

        Raises `NotFusable` for an entry whose change is no product of thin factors.
        """
        self._step = 0
        parts: dict[str, list[Beside]] = {}
        for module, beside in _scheduled(plan, stack):
            parts.setdefault(module, []).append(beside)
        layers = {name: transformer.get_submodule(to_diffusers(name)) for name in parts}
        self._hooks = [
            layers[name].register_forward_hook(partial(self._add, tuple(found)))
            for name, found in parts.items()
        ]
        _forget_compiled()

    def at(self, step: int) -> None:
        """The denoising step that the next passes belong to, counted from 0."""
        self._step = step

    def remove(self) -> None:
        """Leave the transformer as it was."""
        for hook in self._hooks:
            hook.remove()
        _forget_compiled()

    def _add(
        self,
        parts: tuple[Beside, ...],
        layer: nn.Module,
        inputs: tuple[torch.Tensor, ...],
        output: torch.Tensor,
    ) -> torch.Tensor:
        x = inputs[0]
        for part in parts:
            if part.schedule.active(self._step):
                inner = nn.functional.linear(x, part.factors.down.to(x))
                up = part.factors.up.float() * (part.strength * part.factors.scale)
                output = output + nn.functional.linear(inner, up.to(x))
        return output


def without_steps(plan: FusionPlan) -> FusionPlan:
    """`plan` with the transformer free of all entries whose strengths go by step."""
    return replace(plan, entries=tuple(_text_alone(entry) for entry in plan.entries))


def bytes_to_rewrite(base: BaseTensors, plan: FusionPlan) -> int:
    """The most device memory that fusing again takes between steps: that of the largest weight.

    It is there as stored, in float32, as a float32 sum, and rounded.
    """
    modules = {m for entry in plan.entries if entry.strength.is_scheduled for m in entry.changed}
    weights = [base[base.names[f"{m}.weight"]] for m in modules if not is_text(m)]
    return max((t.numel() * (t.element_size() + 4 + 4 + 2) for t in weights), default=0)


def free_bytes(device: torch.device) -> int | None:
    """What can still be taken on a CUDA device, the allocator's own reserve included; else None."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _text_alone(entry: PlanEntry) -> PlanEntry:
    if not entry.strength.is_scheduled:
        return entry
    first = entry.strength.active(0)
    strengths: Mapping[str, float] = {
        module: value if first and is_text(module) else 0.0
        for module, value in entry.strengths.items()
    }
    return replace(entry, strengths=strengths)


def _scheduled(plan: FusionPlan, stack: Stacked) -> Iterator[tuple[str, Beside]]:
    for entry, (adapter, _) in zip(plan.entries, stack, strict=True):
        if not entry.strength.is_scheduled:
            continue
        for source, target in entry.targets.items():
            strength = entry.strength_for(source)
            if is_text(target) or not strength:
                continue
            module = adapter.modules.get(source)
            factors = module.low_rank() if module is not None else None
            if factors is None or source in adapter.biases:
                raise NotFusable(
                    f"{adapter.path} cannot go by step here: its change of {source} needs the weight "
                    "itself, and the device has too little memory to fuse it again between steps.",
                    hint="Leave its steps out, or render with --device cpu.",
                )
            yield target, Beside(factors, strength, entry.strength)


def _forget_compiled() -> None:
    """Compiled code does not look for hooks that came or went since."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
