"""Which modules of which adapter meet, with a base to stack on or without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lorakit.adapters.adapter import Adapter
from lorakit.errors import NotFusable
from lorakit.formats.variants import SIZES, block_map, renumber_module
from lorakit.fusion.plan import BaseModules, plan_fusion
from lorakit.sketches.weights import is_norm
from lorakit.strengths import Strength


@dataclass(frozen=True)
class Part:
    """One entry: what it changes, by the names of the model that all are compared on.

    `label` is unique among the entries, `name` what a stack calls it.
    `sources` maps those names to the adapter's own; `units` is what a strength of base 1 would be there.
    `missed` are refinements that name none of its modules; `unmatched` are modules that the base lacks.
    """

    label: str
    strength: Strength
    adapter: Adapter
    sources: Mapping[str, str]
    units: Mapping[str, float]
    missed: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    remapped: bool = False
    name: str = ""

    @property
    def matrices(self) -> list[str]:
        """The modules that are compared: norms are vectors on a scale of their own, and so are biases."""
        changed = self.adapter.modules
        return [t for t, source in self.sources.items() if source in changed and not is_norm(t)]

    @property
    def vectors(self) -> int:
        """How many norms and biases it changes, which are not compared."""
        norms = sum(is_norm(source) for source in self.adapter.modules)
        return norms + len(self.adapter.biases)


def pair_up(
    named: Sequence[tuple[str, Strength, Adapter]], base: BaseModules | None
) -> tuple[list[Part], dict[str, str]]:
    """The parts of those that can be stacked, and by label why others cannot.

    Without a base, adapters for fewer blocks are renumbered onto the largest of them, and one whose
    matrices have other sides than those before it cannot be stacked with them.
    """
    blocks = max((_blocks(adapter) for _, _, adapter in named), default=0)
    sides: dict[str, tuple[int | None, ...]] = {}
    parts: list[Part] = []
    refused: dict[str, str] = {}
    for label, strength, adapter in named:
        try:
            if base is None:
                part = _alone(label, strength, adapter, blocks)
                _require_fit(part, sides)
            else:
                part = _on_base(label, strength, adapter, base)
        except NotFusable as error:
            refused[label] = error.message
        else:
            parts.append(part)
    return parts, refused


def _on_base(label: str, strength: Strength, adapter: Adapter, base: BaseModules) -> Part:
    given, scale = _unit(strength)
    (entry,) = plan_fusion(base, [(label, given, adapter.report)]).entries
    targets = dict(entry.targets)
    units = {target: entry.strengths[source] * scale for source, target in targets.items()}
    # The text encoder is a file of its own, so the plan for a checkpoint does not take it.
    for name in entry.text_encoder:
        targets[name], units[name] = name, given.for_module(name) * scale
    sources = {target: source for source, target in targets.items()}
    return Part(
        label,
        strength,
        adapter,
        sources,
        units,
        entry.missed,
        entry.unmatched,
        entry.remapped,
    )


def _alone(label: str, strength: Strength, adapter: Adapter, blocks: int) -> Part:
    given, scale = _unit(strength)
    made_for = _blocks(adapter)
    renumber = block_map(made_for, blocks) if {made_for, blocks} <= set(SIZES) else ()
    names = [module.name for module in adapter.report.modules]
    sources = {renumber_module(name, renumber): name for name in names}
    return Part(
        label,
        strength,
        adapter,
        sources,
        {target: given.for_module(name, made_for) * scale for target, name in sources.items()},
        strength.misses(names),
        remapped=any(target != name for target, name in sources.items()),
    )


def _unit(strength: Strength) -> tuple[Strength, float]:
    """A strength, and what to multiply its factors by for those of base 1."""
    if strength.base:
        return strength, 1 / strength.base
    return replace(strength, base=1.0), 1.0


def _blocks(adapter: Adapter) -> int:
    """The size of the model that the adapter was made for; the smallest where it touches no block."""
    return adapter.report.model_blocks or SIZES[0]


def _require_fit(part: Part, sides: dict[str, tuple[int | None, ...]]) -> None:
    """Raise `NotFusable` where a matrix has other sides than `sides` says; note those that are new."""
    report = part.adapter.report
    shapes = {module.name: module.shape for module in report.modules if module.shape is not None}
    found = {target: shapes[s] for target, s in part.sources.items() if s in shapes}
    for name, shape in found.items():
        pairs = zip(shape, sides.get(name, shape), strict=False)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise NotFusable(
                f"{report.path} is made for a model of other sizes than those before it: its {name} "
                f"changes a weight of {list(shape)}, theirs one of {list(sides[name])}."
            )
    sides.update({name: shape for name, shape in found.items() if name not in sides})
