"""Several adapters as one adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.fusion.engine import Entries, load_entries
from lorakit.merging.gathering import Gathered, gather
from lorakit.merging.ranks import Energy, Rank, RankRule
from lorakit.merging.report import MergeReport, ModuleMerge
from lorakit.merging.result import adapter_of
from lorakit.merging.summing import Recipe, merge_bias, merge_weight

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
    options: Mapping[str, float | str] | None = None,
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
    options: Mapping[str, float | str] | None = None,
    device: str | torch.device = "cpu",
    on_progress: Progress | None = None,
) -> Merged:
    """Merge `entries` into one adapter in memory, with factors in float32.

    `entries` is a `Stack` whose names are paths, or (path or Adapter, strength) pairs, as for `fuse`.
    """
    rule = _rule(rank, energy)
    adapters = load_entries(entries)
    tensors = None if base is None else open_base(base)
    gathered = gather(adapters, tensors.modules if tensors else None)
    recipe = Recipe(method, dict(options or {}), rule, seed, full_diffs, torch.device(device))
    modules: dict[str, AdapterModule] = {}
    biases: dict[str, AdapterModule] = {}
    told: list[ModuleMerge] = []
    for number, ((name, leaf), terms) in enumerate(gathered.terms.items()):
        if on_progress:
            on_progress(number, len(gathered.terms), name)
        if leaf == "bias":
            biases[name], facts = merge_bias(name, terms)
        else:
            weight = _weight(name, tensors) if any(t.needs_base for t in terms) else None
            modules[name], facts = merge_weight(name, terms, gathered.shapes[name], weight, recipe)
        told.append(facts)
    paths = tuple(adapter.path for adapter, _ in adapters)
    return Merged(
        adapter_of(modules, biases, path=Path("merged"), blocks=gathered.blocks, made_of=paths),
        _report(recipe, gathered, told),
    )


def _weight(name: str, base: BaseTensors | None) -> torch.Tensor | None:
    key = base.names.get(f"{name}.weight") if base else None
    return None if base is None or key is None else base.exact(key)


def _rule(rank: int | RankRule | None, energy: float | None) -> RankRule | None:
    if rank is not None and energy is not None:
        raise BadUsage("A rank and an energy cannot both be given.", hint="Leave one out.")
    if energy is not None:
        return Energy(energy)
    return Rank(rank) if isinstance(rank, int) else rank


def _report(recipe: Recipe, gathered: Gathered, told: Sequence[ModuleMerge]) -> MergeReport:
    return MergeReport(
        recipe.method,
        recipe.options,
        str(recipe.rule) if recipe.rule else None,
        recipe.seed,
        gathered.blocks,
        tuple(told),
        gathered.notes,
    )
