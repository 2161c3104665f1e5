"""Live fusion: a stack held on a device whose strengths can be changed again and again.

The pristine weights of each kind of module lie in one buffer and the live weights in another, whose
slices are the tensors given out. A change of strengths writes pristine + delta into the live buffer, in
place: a model that holds those tensors sees it, nothing is compiled again, and nothing drifts, because
every change starts from the pristine weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType

import torch

from lorakit.adapters.adapter import Adapter, DoraFormula
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.devices import full_float32
from lorakit.fusion.live_factors import ALIGN, Method
from lorakit.fusion.live_graphs import Recordings
from lorakit.fusion.live_groups import Group, group_patches
from lorakit.fusion.live_memory import Mode, measure_needs, place_pristine
from lorakit.fusion.live_method import pick_method
from lorakit.fusion.live_resident import (
    CHUNK_BYTES,
    Resident,
    fuse_dense_row,
    fuse_rows,
    place_group,
    refresh_coefficients,
    restore_rows,
    scratch_numel,
)
from lorakit.fusion.live_strengths import Strengths, strength_table, touched_by
from lorakit.fusion.plan import plan_fusion


@dataclass(frozen=True)
class Reweighted:
    """What one change of strengths rewrote: names of groups, and the canonical names of tensors."""

    groups: tuple[str, ...]
    tensors: tuple[str, ...]

    @property
    def text_adapter(self) -> bool:
        """Whether the text adapter changed; a copy of it held elsewhere is then out of date."""
        return any(name.startswith("llm_adapter.") for name in self.tensors)


class LiveWeights(Mapping[str, torch.Tensor]):
    """The whole base under its own key names; every key always gives the same tensor object.

    Touched weights are views of the live buffers. The others are moved to the device when first asked
    for.
    """

    def __init__(
        self, base: BaseTensors, live: Mapping[str, torch.Tensor], device: torch.device
    ) -> None:
        self._base = base
        self._given = dict(live)
        self._device = device

    def __getitem__(self, key: str) -> torch.Tensor:
        if key not in self._given:
            self._given[key] = self._base[key].to(self._device)
        return self._given[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)


class LiveFusion:
    """A base and a stack of adapters on a device. Strengths start at 0: the pristine base.

    `mode` says whether the pristine weights lie on the "device" or the "host", `mode_reason` why;
    `methods` which ways of multiplying are in use. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        base: str | Path | Mapping[str, torch.Tensor],
        adapters: Sequence[str | Path | Adapter],
        *,
        device: str | torch.device = "cpu",
        mode: Mode | None = None,
        memory_limit: int | None = None,
        method: Method | None = None,
        graphs: bool = True,
        chunk_bytes: int | None = CHUNK_BYTES,
        dora: DoraFormula = "trainer",
    ) -> None:
        """Match, check and load everything.

        Args:
            base: a checkpoint file or a mapping of its tensors, which is never written to.
            adapters: files, or adapters in memory; entry i is the i-th of them.
            device: where the live weights and the factors are held.
            mode: where the pristine weights are held; None picks by free memory.
            memory_limit: bytes of device memory that may be used; None is what is free, less a reserve.
            method: how bfloat16 weights are multiplied: "baddbmm", also for None, or the "fused" kernel.
            graphs: record CUDA graphs, which spare the launches.
            chunk_bytes: how much weight `baddbmm` works on at once; None is a whole group.
            dora: the formula of a magnitude.

        Raises:
            BadFile, NotFound: a file cannot be read.
            NotFusable: an adapter does not fit the base, or the stack the device.
        """
        self._device = torch.empty(0, device=device).device
        self._base = open_base(base)
        loaded = [item if isinstance(item, Adapter) else load_adapter(item) for item in adapters]
        entries = [(adapter.path.stem, 1.0, adapter.report) for adapter in loaded]
        self.plan = plan_fusion(self._base.modules, entries)
        groups = group_patches(self._base, self.plan, loaded, dora)
        methods = [pick_method(group, self._device, method) for group in groups]
        self.methods: frozenset[Method] = frozenset(methods)
        align = max((ALIGN[m] for m in methods), default=1)
        placement = place_pristine(
            measure_needs(groups, align), self._device, limit=memory_limit, wanted=mode
        )
        self.mode: Mode = placement.mode
        self.mode_reason = placement.reason
        self._recordings = Recordings() if graphs else None
        self._touches = touched_by(groups, len(loaded))
        self._names = [name for group in groups for name in group.tensors]
        self._now = torch.zeros(self._touches.shape, dtype=torch.float64)
        self._strengths = self._now.to(self._device, copy=True)
        self._residents = self._place(groups, methods, chunk_bytes)
        self._scratch = self._make_scratch()
        self.weights: Mapping[str, torch.Tensor] = LiveWeights(
            self._base, self._live(), self._device
        )

    @property
    def prefix(self) -> str:
        """What stands before `blocks.0...` in the keys."""
        return self._base.prefix

    @property
    def touched(self) -> frozenset[str]:
        """The keys that the stack can change."""
        names = self._base.names
        return frozenset(names[name] for name in self._names)

    def by_canonical_name(self) -> dict[str, torch.Tensor]:
        """The transformer and text adapter under canonical names (`blocks.0.mlp.layer1.weight`)."""
        return {name: self.weights[key] for name, key in self._base.names.items()}

    def set_strengths(self, strengths: Strengths) -> Reweighted:
        """Re-fuse what these strengths change. On a GPU the work is queued on the current stream.

        `strengths` is one number per entry, a row of one number per block for each entry, or a function
        (entry, canonical module name) -> strength. Tensors whose strengths are all 0 get their
        pristine bytes. Raises `BadUsage` for a wrong count, a strength that is no number, or a table
        where an entry touches modules outside the blocks.
        """
        if not self._residents:
            raise BadUsage("This live fusion is closed.")
        blocks = self._base.modules.blocks
        wanted = strength_table(strengths, self._touches, self._names, blocks)
        changed = (wanted != self._now).any(1).tolist()
        plain = (wanted == 0).all(1).tolist()
        self._strengths.copy_(wanted, non_blocking=True)
        # Until all is written nothing is known, so that after an error the next call writes it all.
        self._now = torch.full_like(wanted, torch.nan)
        groups: list[str] = []
        tensors: list[str] = []
        with torch.no_grad(), full_float32():
            start = 0
            for resident in self._residents:
                names = resident.group.tensors
                span = slice(start, start + len(names))
                start = span.stop
                if any(changed[span]):
                    self._refuse(resident, changed[span], plain[span])
                    groups.append(resident.group.name)
                    tensors += [n for n, hit in zip(names, changed[span], strict=True) if hit]
        self._now = wanted
        return Reweighted(tuple(groups), tuple(tensors))

    def unfuse(self) -> Reweighted:
        """Set every strength to 0: the live weights are the pristine ones, byte for byte."""
        return self.set_strengths([0.0] * self._touches.shape[1])

    def close(self) -> None:
        """Let go of the device's memory; tensors that were given out stay with those who hold them."""
        self._residents = ()
        self._recordings = None
        self._touches = self._touches[:0]
        self._now = self._now[:0]
        self._strengths = self._strengths[:0]
        self._scratch = {}
        self.weights = {}

    def __enter__(self) -> LiveFusion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _place(
        self, groups: Sequence[Group], methods: Sequence[Method], chunk_bytes: int | None
    ) -> tuple[Resident, ...]:
        residents = []
        start = 0
        for group, method in zip(groups, methods, strict=True):
            span = self._strengths[start : start + len(group.tensors)]
            start += len(group.tensors)
            residents.append(place_group(group, self._base, span, method, self.mode, chunk_bytes))
        return tuple(residents)

    def _make_scratch(self) -> dict[torch.dtype, torch.Tensor]:
        """One buffer per dtype for scaled factors, as large as the neediest group's."""
        sizes: dict[torch.dtype, int] = {}
        for resident in self._residents:
            dtype = resident.live.dtype
            sizes[dtype] = max(sizes.get(dtype, 0), scratch_numel(resident))
        return {
            dtype: torch.empty(size, dtype=dtype, device=self._device)
            for dtype, size in sizes.items()
        }

    def _live(self) -> dict[str, torch.Tensor]:
        """Key of the base -> the slice of a live buffer that stands for it."""
        names = self._base.names
        return {
            names[name]: resident.live[row]
            for resident in self._residents
            for row, name in enumerate(resident.group.tensors)
        }

    def _refuse(self, resident: Resident, changed: list[bool], plain: list[bool]) -> None:
        """Rewrite the changed rows of a group; `plain` are those whose strengths are all 0."""
        dense = resident.group.dense_rows
        rows = range(len(changed))
        products = [changed[i] and not plain[i] and i not in dense for i in rows]
        scratch = self._scratch[resident.live.dtype]
        if all(products) and self._recordings and Recordings.suit(resident):
            self._recordings.fuse_group(resident, scratch)
            return
        refresh_coefficients(resident)
        for run in _runs([changed[i] and plain[i] for i in rows]):
            restore_rows(resident, run)
        for run in _runs(products):
            fuse_rows(resident, run, scratch)
        for row in sorted(dense):
            if changed[row] and not plain[row]:
                fuse_dense_row(resident, row)


def _runs(flags: Sequence[bool]) -> Iterator[slice]:
    """The stretches of true values."""
    for hit, run in groupby(enumerate(flags), key=lambda pair: pair[1]):
        indices = [index for index, _ in run]
        if hit:
            yield slice(indices[0], indices[-1] + 1)
