"""What several adapters do to each weight, brought to one size of model, before any arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import SumModule
from lorakit.adapters.needing_weight import needs_weight
from lorakit.errors import BadUsage
from lorakit.formats.inspection import AdapterReport, ModuleReport
from lorakit.formats.parts import algos_of
from lorakit.fusion.plan import BaseModules, FusionPlan, plan_fusion
from lorakit.merging.common_model import common_model
from lorakit.strengths import Strength, refuse_scheduled

Leaf = Literal["weight", "bias"]
# Those whose changes are what they are whatever weight they are added to.
_FREE_ALGOS = frozenset({"lora", "loha", "lokr", "full", "norm"})


@dataclass(frozen=True)
class Term:
    """One part of one entry's change of a weight: the patch, its strength, and how errors call it.

    `entry` is the entry's place in the list; `rank` is what the file states, None where there is none.
    """

    entry: int
    module: AdapterModule
    strength: float
    name: str
    rank: int | None

    @property
    def needs_base(self) -> bool:
        """Whether the change depends on the weight it is added to."""
        return needs_weight(self.module)


@dataclass(frozen=True)
class Gathered:
    """Every weight and bias that changes, with the terms of its change, in the order of the entries.

    `blocks` is the size of the model; `shapes` are those of the weights, 0 for a side nobody tells;
    `stated` is what the first adapter's file tells of each module, under its new name.
    """

    blocks: int
    shapes: Mapping[str, tuple[int, ...]]
    terms: Mapping[tuple[str, Leaf], Sequence[Term]]
    stated: Mapping[str, ModuleReport]
    notes: tuple[str, ...]


def gather(adapters: Sequence[tuple[Adapter, Strength]], base: BaseModules | None) -> Gathered:
    """Bring `adapters` to the size of the largest (or of `base`) and list what each does to what.

    Raises `BadUsage` for nothing to merge and for strengths that depend on the step, `NotFusable` for
    adapters that were not made for one model, `BadFile` for one that is not whole.
    """
    if not adapters:
        raise BadUsage("There is nothing to merge.", hint="Name at least one adapter.")
    refuse_scheduled(strength for _, strength in adapters)
    model = common_model([adapter.report for adapter, _ in adapters], base)
    plan = plan_fusion(model, [(a.path.stem, strength, a.report) for a, strength in adapters])
    terms: dict[tuple[str, Leaf], list[Term]] = {}
    for where, term in _terms(plan, adapters):
        terms.setdefault(where, []).append(term)
    require_strength(plan)
    first = plan.entries[0]
    stated = {
        first.targets[module.name]: replace(module, name=first.targets[module.name])
        for module in first.report.modules
        if module.name in first.targets
    }
    return Gathered(model.blocks, model.shapes, terms, stated, tuple(_notes(plan)))


def require_strength(plan: FusionPlan) -> None:
    """Raise `BadUsage` where no entry changes anything."""
    if not any(strength for entry in plan.entries for strength in entry.strengths.values()):
        raise BadUsage("Every strength is 0, so nothing is left to merge.")


def needing_base(report: AdapterReport) -> tuple[str, ...]:
    """The modules whose change depends on the base's weights, told from a header alone.

    An adapter made of them holds what was computed from the base.
    """
    return tuple(
        module.name
        for module in report.modules
        if "dora_scale" in module.parts
        or any(algo.name not in _FREE_ALGOS for algo in algos_of(module.parts))
    )


def _terms(
    plan: FusionPlan, adapters: Sequence[tuple[Adapter, Strength]]
) -> Iterator[tuple[tuple[str, Leaf], Term]]:
    for index, (entry, (adapter, _)) in enumerate(zip(plan.entries, adapters, strict=True)):
        ranks = {module.name: module.rank for module in adapter.report.modules}
        leaves: tuple[tuple[Leaf, Mapping[str, AdapterModule]], ...] = (
            ("weight", adapter.modules),
            ("bias", adapter.biases),
        )
        for source, target in entry.targets.items():
            # Strength 0 changes nothing, so it is left out before any arithmetic.
            if not (strength := entry.strength_for(source)):
                continue
            name = f"{source} of {adapter.path.name}"
            for leaf, patches in leaves:
                for part in _parts(patches.get(source)):
                    yield (target, leaf), Term(index, part, strength, name, ranks[source])


def _parts(module: AdapterModule | None) -> tuple[AdapterModule, ...]:
    if module is None:
        return ()
    return module.modules if isinstance(module, SumModule) else (module,)


def _notes(plan: FusionPlan) -> Iterator[str]:
    """What a person should know of entries that are not taken as they stand in their files."""
    for entry in plan.entries:
        name = entry.report.path.name
        if entry.remapped:
            yield f"{name} is made for a smaller model: its blocks are renumbered for {plan.base.blocks}."
        if keys := entry.report.unused_keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            yield f"Left out of {name}, since nothing known is patched by it: {keys[0]}{more}."
        for missed in entry.missed:
            yield f"{missed} names none of the modules of {name}."
        for remark in entry.beside_root:
            yield f"Of {name}: {remark}"
