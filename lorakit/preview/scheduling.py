"""Strengths that depend on the denoising step: the live model is re-fused between steps.

The prompt is turned into conditioning once, before the first step. So the text adapter and the text
encoder take part with the strengths of step 0, whatever comes later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.fusion.base import open_base
from lorakit.fusion.engine import Patch, fuse, fuse_weight, iter_patches
from lorakit.fusion.plan import FusionPlan, plan_fusion
from lorakit.strengths import Strength


class ScheduledWeights:
    """The fused weights of a stack in each denoising step.

    The base and the adapters stay mapped; a change of step costs the products of the weights that the
    scheduled entries touch, and the memory of one weight at a time. `plan` shows every entry active.
    """

    def __init__(
        self,
        base: Path | Mapping[str, torch.Tensor],
        entries: Sequence[tuple[str | Path, Strength]],
        *,
        device: str,
    ) -> None:
        """Open the files. Raises `BadFile` or `NotFusable` as `lorakit.fuse` does."""
        self._base = open_base(base)
        self._adapters = [(load_adapter(path), strength) for path, strength in entries]
        self._device = torch.device(device)
        self._active: tuple[bool, ...] | None = None
        self.plan = self._plan(self._adapters)
        scheduled = [(a, s) for a, s in self._adapters if s.is_scheduled]
        names = {key: name for name, key in self._base.names.items()}
        found = iter_patches(self._base, self._plan(scheduled), scheduled)
        self._changing = {key: names[key] for key, _ in found}

    def at_first_step(self) -> dict[str, torch.Tensor]:
        """The weights of step 0 by canonical names; those that change later own their memory."""
        fused = fuse(self._base, self._at_step(0), device=self._device)
        weights = fused.by_canonical_name()
        for key, name in self._changing.items():
            if key not in fused.touched:
                weights[name] = weights[name].clone()
        return weights

    def write(self, step: int, live: Mapping[str, torch.Tensor]) -> None:
        """Bring the tensors of `live` (by canonical names) to the weights of `step`, in place."""
        active = tuple(strength.active(step) for _, strength in self._adapters)
        if active == self._active:
            return
        self._active = None
        patches = self._patches(step)
        with torch.no_grad():
            for key, name in self._changing.items():
                if name in live:
                    live[name].copy_(self._fused(key, patches.get(key, ())))
        self._active = active

    def _fused(self, key: str, patches: Sequence[Patch]) -> torch.Tensor:
        if not patches:
            return self._base[key]
        kept = self._base.kept_dtype(key)
        return fuse_weight(self._base.exact(key), patches, self._device, kept)

    def _patches(self, step: int) -> dict[str, list[Patch]]:
        adapters = self._at_step(step)
        return dict(iter_patches(self._base, self._plan(adapters), adapters))

    def _at_step(self, step: int) -> list[tuple[Adapter, Strength]]:
        return [(adapter, strength.at_step(step)) for adapter, strength in self._adapters]

    def _plan(self, adapters: Sequence[tuple[Adapter, Strength]]) -> FusionPlan:
        entries = [(adapter.path.stem, strength, adapter.report) for adapter, strength in adapters]
        return plan_fusion(self._base.modules, entries)
