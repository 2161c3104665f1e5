"""The plan of a fusion: what each entry touches, from headers alone.

Nothing is left to chance here: an entry that touches nothing, a shape that does not fit and an adapter
made for a larger model are errors; what fits nowhere is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from lorakit.adapters.support import check_fusable
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, NotFusable
from lorakit.formats import anima
from lorakit.formats.checkpoint import Checkpoint
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.variants import SIZES, block_map, renumber_module
from lorakit.strengths import Strength, as_strength


@dataclass(frozen=True)
class BaseModules:
    """The weights of a base that adapters can patch: canonical module name -> shape.

    `eight_bit` are those stored in 8-bit floats; once touched they are held in bfloat16.
    """

    label: str
    blocks: int
    shapes: Mapping[str, tuple[int, ...]]
    eight_bit: frozenset[str] = frozenset()

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> BaseModules:
        """The modules of a checkpoint file."""
        modules = checkpoint.modules()
        shapes = {name: info.shape for name, info in modules.items()}
        eight_bit = frozenset(n for n, info in modules.items() if info.dtype.startswith("F8_"))
        return cls(checkpoint.path.name, checkpoint.blocks, shapes, eight_bit)


@dataclass(frozen=True)
class PlanEntry:
    """What one entry of the stack does.

    `targets` maps each of the adapter's modules that is applied to the module of the base it patches
    (another one when blocks are remapped); `unmatched` are modules that the base does not have, but for
    those of the text encoder, a file of its own that a checkpoint never holds: `text_encoder`.
    `strengths` holds what `strength` makes of each of them, by the adapter's own names and block
    numbers; `missed` are its refinements that name none of the adapter's modules.
    """

    label: str
    strength: Strength
    report: AdapterReport
    targets: Mapping[str, str]
    unmatched: tuple[str, ...]
    text_encoder: tuple[str, ...]
    strengths: Mapping[str, float]
    missed: tuple[str, ...]

    def strength_for(self, module: str) -> float:
        """The strength of one of the adapter's modules (a key of `targets`), while it is active."""
        return self.strengths[module]

    @property
    def changed(self) -> tuple[str, ...]:
        """The modules of the base that the entry changes: those with a strength other than 0."""
        return tuple(target for source, target in self.targets.items() if self.strengths[source])

    @cached_property
    def ranks(self) -> Mapping[int, int]:
        """How many of the applied modules have each rank."""
        ranks = (module.rank for module in self.report.modules if module.name in self.targets)
        return dict(sorted(Counter(rank for rank in ranks if rank is not None).items()))

    @property
    def beside_root(self) -> tuple[str, ...]:
        """What kinds=root leaves as it is in this adapter, as a sentence."""
        return self.strength.beside_root(module.name for module in self.report.modules)

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
        """The weight matrices of the base that no entry touches, in the order of the base.

        Those of a text encoder that stands beside the base are not the base's.
        """
        matrices = (name for name, shape in self.base.shapes.items() if len(shape) == 2)
        own = (name for name in matrices if anima.component_of(name) != "text_encoder")
        return tuple(name for name in own if name not in self.total_ranks)

    @property
    def extra_bytes(self) -> int:
        """Memory beyond the base's own size, for touched 8-bit weights that are held in bfloat16."""
        held = self.base.eight_bit & self.total_ranks.keys()
        return sum(prod(self.base.shapes[name]) for name in held)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON takes it."""
        ranks = self.total_ranks.values()
        return {
            "base": {"label": self.base.label, "blocks": self.base.blocks},
            "touched_modules": len(self.total_ranks),
            "untouched_modules": len(self.untouched),
            "extra_bytes": self.extra_bytes,
            "total_rank": {"min": min(ranks, default=0), "max": max(ranks, default=0)},
            "entries": [
                {
                    "name": entry.label,
                    "path": str(entry.report.path),
                    "strength": entry.strength.headline,
                    "strength_text": str(entry.strength),
                    "modules": len(entry.targets),
                    "changed_modules": len(entry.changed),
                    "ranks": {str(rank): count for rank, count in entry.ranks.items()},
                    "remapped": entry.remapped,
                    "unmatched": list(entry.unmatched),
                    "text_encoder_modules": len(entry.text_encoder),
                    "missed_refinements": list(entry.missed),
                    "unused_keys": list(entry.report.unused_keys),
                }
                for entry in self.entries
            ],
        }


def plan_fusion(
    base: BaseModules, entries: Sequence[tuple[str, float | Strength, AdapterReport]]
) -> FusionPlan:
    """Match every (label, strength, report) of a stack to `base`.

    Raises `BadFile` or `NotFusable`, naming file and module, for an entry that cannot be applied, and
    `BadUsage` for a strength out of range or a vector of strengths for another size of model.
    """
    return FusionPlan(
        base,
        tuple(_plan_entry(base, label, as_strength(s), report) for label, s, report in entries),
    )


def _plan_entry(
    base: BaseModules, label: str, strength: Strength, report: AdapterReport
) -> PlanEntry:
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
        if not _fits(module.shape, shape):
            raise NotFusable(
                f"{report.path} does not fit {base.label}: {module.name} is made for a weight of "
                f"{_sides(module.shape)}, the base has {list(shape)}.",
                hint="The adapter was trained on another model.",
            )
        targets[module.name] = target
    text_encoder = tuple(n for n in unmatched if anima.component_of(n) == "text_encoder")
    if not targets and not text_encoder:
        first, count = report.modules[0].name, len(report.modules)
        names = first if count == 1 else f"none of its {count} modules (such as {first})"
        is_it = "is not" if count == 1 else "is"
        raise NotFusable(
            f"{report.path} touches nothing in {base.label}: {names} {is_it} in the base."
        )
    strengths = _strengths(label, strength, targets, _made_for(base, report))
    missed = strength.misses(module.name for module in report.modules)
    elsewhere = tuple(name for name in unmatched if name not in text_encoder)
    return PlanEntry(label, strength, report, targets, elsewhere, text_encoder, strengths, missed)


def require_targets(plan: FusionPlan) -> None:
    """Raise `NotFusable` for an entry that has nothing to do with the base at hand."""
    idle = next((entry for entry in plan.entries if not entry.targets), None)
    if idle is not None:
        count = len(idle.text_encoder)
        all_of_it = "its one module belongs" if count == 1 else f"all its {count} modules belong"
        raise NotFusable(
            f"{idle.report.path} touches nothing in {plan.base.label}: {all_of_it} to the text encoder.",
            hint="`lorakit preview` fuses them into the text encoder it renders with.",
        )


def _made_for(base: BaseModules, report: AdapterReport) -> int:
    """How many blocks the adapter's model has: the base's own, but for a smaller published size."""
    if not report.blocks or base.blocks not in SIZES:
        return base.blocks
    return report.model_blocks or base.blocks


def _strengths(
    label: str, strength: Strength, modules: Iterable[str], made_for: int
) -> dict[str, float]:
    try:
        return {module: strength.for_module(module, made_for) for module in modules}
    except BadUsage as error:
        raise BadUsage(f"{label}: {error.message}", hint=error.hint) from error


def _fits(told: tuple[int | None, ...] | None, shape: tuple[int, ...]) -> bool:
    """Whether the sides that an adapter tells of a weight are those of the base's."""
    if told is None:
        return True
    return len(told) == len(shape) and all(
        side in (None, actual) for side, actual in zip(told, shape, strict=True)
    )


def _sides(told: tuple[int | None, ...] | None) -> str:
    return f"[{', '.join('any' if side is None else str(side) for side in told or ())}]"


def _renumbering(base: BaseModules, report: AdapterReport) -> tuple[int, ...]:
    """For each block of the adapter its block in the base; empty when nothing is renumbered."""
    if not report.blocks:
        return ()
    highest = report.blocks[-1]
    made_for = report.model_blocks if base.blocks in SIZES else None
    larger = base.blocks < made_for if made_for else highest >= base.blocks
    if larger:
        raise NotFusable(
            f"{report.path} is made for a larger model: it patches block {highest}, and {base.label} "
            f"has {counted_rows(base.blocks, 'block')}.",
            hint="Stack it on a base of the size it was trained on.",
        )
    if made_for is None or made_for == base.blocks:
        return ()
    return block_map(made_for, base.blocks)
