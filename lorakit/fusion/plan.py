"""The plan of a fusion: what each entry touches, from headers alone.

Nothing is left to chance here: an entry that touches nothing, a shape that does not fit and an adapter
made for a larger model are errors; what fits nowhere is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lorakit.adapters.support import check_fusable
from lorakit.errors import NotFusable
from lorakit.formats import anima
from lorakit.formats.checkpoint import Checkpoint
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.variants import SIZES, block_map, model_blocks


@dataclass(frozen=True)
class BaseModules:
    """The weights of a base that adapters can patch: canonical module name -> shape."""

    label: str
    blocks: int
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> BaseModules:
        """The modules of a checkpoint file."""
        shapes = {name: info.shape for name, info in checkpoint.modules().items()}
        return cls(checkpoint.path.name, checkpoint.blocks, shapes)


@dataclass(frozen=True)
class PlanEntry:
    """What one entry of the stack does.

    `targets` maps each of the adapter's modules that is applied to the module of the base it patches
    (another one when blocks are remapped); `unmatched` are modules that the base does not have.
    """

    label: str
    strength: float
    report: AdapterReport
    targets: Mapping[str, str]
    unmatched: tuple[str, ...]

    def strength_for(self, module: str) -> float:
        """The strength of one of the adapter's modules (a key of `targets`)."""
        return self.strength

    @cached_property
    def ranks(self) -> Mapping[int, int]:
        """How many of the applied modules have each rank."""
        ranks = (module.rank for module in self.report.modules if module.name in self.targets)
        return dict(sorted(Counter(rank for rank in ranks if rank is not None).items()))

    @property
    def remapped(self) -> bool:
        """Whether the adapter was made for a smaller model and its blocks are renumbered."""
        return any(source != target for source, target in self.targets.items())


@dataclass(frozen=True)
class FusionPlan:
    """The whole stack against one base."""

    base: BaseModules
    entries: tuple[PlanEntry, ...]

    @cached_property
    def total_ranks(self) -> Mapping[str, int]:
        """Sum of ranks over all entries with a strength, for each module of the base that is touched."""
        total: Counter[str] = Counter()
        for entry in self.entries:
            ranks = {module.name: module.rank or 0 for module in entry.report.modules}
            for source, target in entry.targets.items():
                if entry.strength_for(source):
                    total[target] += ranks[source]
        return dict(total)

    @cached_property
    def untouched(self) -> tuple[str, ...]:
        """The weight matrices of the base that no entry touches, in the order of the base."""
        matrices = (name for name, shape in self.base.shapes.items() if len(shape) == 2)
        return tuple(name for name in matrices if name not in self.total_ranks)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON takes it."""
        ranks = self.total_ranks.values()
        return {
            "base": {"label": self.base.label, "blocks": self.base.blocks},
            "touched_modules": len(self.total_ranks),
            "untouched_modules": len(self.untouched),
            "total_rank": {"min": min(ranks, default=0), "max": max(ranks, default=0)},
            "entries": [
                {
                    "name": entry.label,
                    "path": str(entry.report.path),
                    "strength": entry.strength,
                    "modules": len(entry.targets),
                    "ranks": {str(rank): count for rank, count in entry.ranks.items()},
                    "remapped": entry.remapped,
                    "unmatched": list(entry.unmatched),
                    "unused_keys": list(entry.report.unused_keys),
                }
                for entry in self.entries
            ],
        }


def plan_fusion(
    base: BaseModules, entries: Sequence[tuple[str, float, AdapterReport]]
) -> FusionPlan:
    """Match every (label, strength, report) of a stack to `base`.

    Raises `BadFile` or `NotFusable`, naming file and module, for an entry that cannot be applied.
    """
    return FusionPlan(base, tuple(_plan_entry(base, *entry) for entry in entries))


def _plan_entry(base: BaseModules, label: str, strength: float, report: AdapterReport) -> PlanEntry:
    check_fusable(report)
    renumber = _renumbering(base, report)
    targets: dict[str, str] = {}
    unmatched: list[str] = []
    for module in report.modules:
        target = renumber_module(module.name, renumber)
        shape = base.shapes.get(target)
        if shape is None:
            unmatched.append(module.name)
            continue
        if module.shape is not None and module.shape != shape:
            raise NotFusable(
                f"{report.path} does not fit {base.label}: {module.name} is made for a weight of "
                f"{list(module.shape)}, the base has {list(shape)}.",
                hint="The adapter was trained on another model.",
            )
        targets[module.name] = target
    if not targets:
        raise NotFusable(
            f"{report.path} touches nothing in {base.label}: none of its {len(report.modules)} modules "
            f"(such as {report.modules[0].name}) is in the base."
        )
    return PlanEntry(label, strength, report, targets, tuple(unmatched))


def _renumbering(base: BaseModules, report: AdapterReport) -> tuple[int, ...]:
    """For each block of the adapter its block in the base; empty when nothing is renumbered."""
    if not report.blocks:
        return ()
    highest = report.blocks[-1]
    made_for = model_blocks(highest) if base.blocks in SIZES else None
    larger = base.blocks < made_for if made_for else highest >= base.blocks
    if larger:
        raise NotFusable(
            f"{report.path} is made for a larger model: it patches block {highest}, and {base.label} "
            f"has {base.blocks} blocks.",
            hint="Stack it on a base of the size it was trained on.",
        )
    if made_for is None or made_for == base.blocks:
        return ()
    return block_map(made_for, base.blocks)


def renumber_module(module: str, renumber: Sequence[int]) -> str:
    """`module` with its block index mapped through `renumber`; unchanged outside the blocks."""
    block = anima.block_of(module)
    if block is None or not renumber:
        return module
    return f"blocks.{renumber[block]}.{module.split('.', 2)[2]}"
