"""Several adapters as one adapter, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.formats.inspection import ModuleReport
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.devices import computing
from lorakit.fusion.engine import Entries, load_entries
from lorakit.merging.gathering import Gathered, gather
from lorakit.merging.methods.table import Value
from lorakit.merging.one_weight import Outcome, Work, merge_one
from lorakit.merging.ranks import RankRule
from lorakit.merging.remarks import remarks
from lorakit.merging.report import MergeReport, ModuleMerge
from lorakit.merging.request import MergeRequest, make_request
from lorakit.merging.result import adapter_of
from lorakit.merging.side_by_side import side_by_side

# (done, total, module)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Merged:
    """An adapter made of others, and how it came about."""

    adapter: Adapter
    report: MergeReport


def merge(
    entries: Entries,
    *,
    method: str = "sum",
    rank: int | RankRule | None = None,
    energy: float | None = None,
    base: str | Path | Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
    full_diffs: bool = False,
    options: Mapping[str, Value] | None = None,
    device: str | torch.device = "cpu",
) -> Adapter:
    """One adapter that does what `entries` do together; see `merged`, which also tells how exactly."""
    return merged(
        entries,
        method=method,
        rank=rank,
        energy=energy,
        base=base,
        seed=seed,
        full_diffs=full_diffs,
        options=options,
        device=device,
    ).adapter


def merged(
    entries: Entries,
    *,
    method: str = "sum",
    rank: int | RankRule | None = None,
    energy: float | None = None,
    base: str | Path | Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
    full_diffs: bool = False,
    options: Mapping[str, Value] | None = None,
    device: str | torch.device = "cpu",
    on_progress: Progress | None = None,
) -> Merged:
    """Merge `entries` into one adapter in memory, its factors in float32.

    `entries` is a `Stack` whose names are paths, or (path or Adapter, strength) pairs, as for `fuse`; adapters
    for 28 blocks beside some for 40 or 52 are renumbered. The sum is exact: factors joined along the rank, where
    the rank is smaller than both sides of the weight. LoHa, and LoKr of low rank, have exact factors, too.
    What has none (other LoKr, full differences, and with a `base` DoRA, OFT, IA3, GLoRA, T-LoRA) becomes the best
    approximation of twice the rank it states, at least 64, or, with `full_diffs`, a difference stored in full. `rank` or
    `energy` compress everything. `method` and its `options` are those of methods/table.py; `seed` is for
    chance, where a method uses it. `device` is "cpu", "cuda", "cuda:N" or "auto". The report tells ranks,
    retained energy and errors.

    One adapter alone stays what it is, tensor by tensor, when nothing but its strength is asked for.

    Raises `BadUsage` for options, strengths and ranks that make no sense, `NotFound`, `BadFile` or `NotFusable`
    for adapters that cannot be merged, naming file and module.
    """
    adapters = load_entries(entries)
    request = make_request(
        method,
        options,
        rank=rank,
        energy=energy,
        seed=seed,
        full_diffs=full_diffs,
        device=device,
        alone=len(adapters) == 1,
    )
    tensors = None if base is None else open_base(base)
    gathered = gather(adapters, tensors.modules if tensors else None)
    modules: dict[str, AdapterModule] = {}
    biases: dict[str, AdapterModule] = {}
    told: list[ModuleMerge] = []
    works = list(_works(gathered, tensors))
    with computing(request.device):
        for work, (module, facts) in zip(works, _merge_all(works, request), strict=True):
            (biases if work.leaf == "bias" else modules)[work.name] = module
            told.append(facts)
            if on_progress:
                on_progress(len(told), len(works), work.name)
    result = adapter_of(
        modules,
        biases,
        path=Path("merged"),
        blocks=gathered.blocks,
        made_of=tuple(adapter.path for adapter, _ in adapters),
        stated=_stated(gathered, modules) if request.alone else None,
    )
    report = MergeReport(
        request.method.name,
        request.options,
        str(request.rule) if request.rule else None,
        seed,
        gathered.blocks,
        tuple(told),
        (*gathered.notes, *remarks(gathered, told, request)),
    )
    return Merged(result, report)


def _works(gathered: Gathered, base: BaseTensors | None) -> Iterator[Work]:
    for (name, leaf), terms in gathered.terms.items():
        key = base.names.get(f"{name}.weight") if base else None
        needed = leaf == "weight" and any(term.needs_base for term in terms)
        weight = (
            partial(base.exact, key) if base is not None and key is not None and needed else None
        )
        yield Work(name, leaf, terms, len(gathered.shapes[name]) == 1, weight)


def _merge_all(works: list[Work], request: MergeRequest) -> Iterator[Outcome]:
    jobs = (partial(merge_one, work, request) for work in works)
    return side_by_side(jobs, cores=None if request.device.type == "cpu" else 1)


def _stated(gathered: Gathered, modules: Mapping[str, AdapterModule]) -> dict[str, ModuleReport]:
    """The file's own reports of the modules that stayed as they are and are neither LoRA nor full."""
    return {
        name: report
        for name, report in gathered.stated.items()
        if not isinstance(modules.get(name), LoraModule | DiffModule)
    }
