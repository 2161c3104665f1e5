"""A merged checkpoint: a stack fused onto a base, one tensor at a time, through the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase, choose_base
from lorakit.counting import counted_rows
from lorakit.errors import NotFusable
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.gate.derived import Derived, LazyTensor, Progress, Written
from lorakit.gate.writing import write_derived
from lorakit.stack import ResolvedEntry, Stack, resolve_stack
from lorakit.strengths import refuse_scheduled

if TYPE_CHECKING:
    import torch

    from lorakit.catalog import Catalog
    from lorakit.fusion.base import BaseTensors
    from lorakit.fusion.patches import Patch
    from lorakit.fusion.plan import FusionPlan

# How much of the base, and of all adapters, may stay mapped into memory before they are let go.
_MAPPED_BYTES = 64_000_000


def export_checkpoint(
    catalog: Catalog,
    base: str | None,
    stack: Stack,
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Written:
    """Fuse `stack` onto the base called `base` and write the result to `output`, if it may be written.

    Raises what `write_derived` raises, and `BadUsage` for a strength that holds in some denoising steps
    only.
    """
    chosen = choose_base(catalog, base)
    entries = resolve_stack(stack, catalog)

    def opened() -> Mapping[str, LazyTensor]:
        refuse_scheduled(entry.strength for entry in entries)
        return fused_tensors(chosen, entries)

    derived = Derived("checkpoint", f"{stack} merged into {chosen.name}", opened, stack=str(stack))
    return write_derived(
        catalog,
        derived,
        (chosen, *entries),
        output,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def fused_tensors(chosen: ChosenBase, entries: Sequence[ResolvedEntry]) -> dict[str, LazyTensor]:
    """Every tensor of `chosen` with `entries` fused in, by the base's own keys; each computed when asked."""
    from lorakit.adapters.tensor_file import DTYPE_CODES

    fused = _Fused(chosen, entries)
    base, stored = fused.base, fused.checkpoint.tensors
    return {
        key: LazyTensor(
            DTYPE_CODES[base.kept_dtype(key) if key in fused.patches else base.given_dtype(key)],
            stored[key].info.shape,
            partial(fused.tensor, key),
        )
        for key in base
    }


class _Fused:
    """The base and the patches on it, from files that are mapped anew every now and then.

    What was read of a mapped file counts as the process's memory until it is let go.
    """

    def __init__(self, chosen: ChosenBase, entries: Sequence[ResolvedEntry]) -> None:
        self._chosen = chosen
        self._entries = entries
        # Adapters are read about as evenly as the base is.
        adapter_bytes = sum(entry.path.stat().st_size for entry in entries)
        self.checkpoint = read_checkpoint(chosen.path)
        self._share = adapter_bytes / self.checkpoint.size
        self._open_base()
        self._open_adapters()

    def tensor(self, key: str) -> torch.Tensor:
        """The tensor of the base with its patches, rounded once to the dtype it is kept in."""
        import torch

        from lorakit.fusion.patches import fuse_weight

        if self._base_read > _MAPPED_BYTES:
            self._open_base()
        if self._adapters_read > _MAPPED_BYTES:
            self._open_adapters()
        patches = self.patches.get(key)
        if patches is None:
            found = self.base[key]
        else:
            dtype = self.base.kept_dtype(key)
            found = fuse_weight(self.base.exact(key), patches, torch.device("cpu"), dtype)
        self._base_read += found.nbytes
        self._adapters_read += found.nbytes * self._share
        return found

    def _open_base(self) -> None:
        from lorakit.fusion.base import open_base

        self._base_read = 0
        self.base: BaseTensors = open_base(self._chosen.path)

    def _open_adapters(self) -> None:
        from lorakit.adapters.loading import load_adapter
        from lorakit.fusion.patches import iter_patches
        from lorakit.fusion.plan import plan_fusion

        self._adapters_read = 0.0
        entries = self._entries
        plan = plan_fusion(self.base.modules, [(e.name, e.strength, e.report) for e in entries])
        _require_checkpoint_only(plan)
        adapters = [(load_adapter(entry.path), entry.strength) for entry in entries]
        self.patches: dict[str, list[Patch]] = dict(iter_patches(self.base, plan, adapters))


def _require_checkpoint_only(plan: FusionPlan) -> None:
    entry = next((entry for entry in plan.entries if entry.text_encoder), None)
    if entry is not None:
        raise NotFusable(
            f"{entry.label} also changes the text encoder ({counted_rows(len(entry.text_encoder), 'module')}), which a "
            "checkpoint of the diffusion model does not hold.",
            hint="Leave the entry out, or share the recipe instead: `lorakit export ... --recipe stack`.",
        )
