"""A comparison as JSON takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lorakit.merging.checking.advice import advise
from lorakit.merging.checking.balance import balanced, with_base
from lorakit.merging.checking.comparing import Comparison, Pair
from lorakit.merging.checking.grouping import Group
from lorakit.merging.checking.notes import notes_on
from lorakit.merging.checking.relations import meetings, relation
from lorakit.merging.checking.usual import Usual
from lorakit.stack import Entry, Stack


def comparison_document(
    comparison: Comparison, usual: Mapping[str, Usual] | None = None
) -> dict[str, Any]:
    """Every figure, at the given strengths, of which a negative one turns cosines; what ends in `_at_1`
    is at strength 1. Gram matrices are at a base strength of 1, too, so that any strengths can be tried:
    the energy of the sum at strengths w is wᵀ gram w."""
    labels = comparison.labels
    groups = {
        "all": [comparison.whole],
        "components": comparison.components,
        "kinds": comparison.kinds,
        "blocks": comparison.blocks,
    }
    return {
        "base": _base(comparison),
        "entries": [_entry(comparison, at, usual or {}) for at in range(len(labels))],
        "sum": sum_document(comparison, comparison.strengths),
        "pairs": [_pair(comparison, pair) for pair in comparison.pairs],
        "meetings": [
            {**asdict(one), "one": labels[one.one], "other": labels[one.other], "apart": one.apart}
            for one in meetings(comparison)
        ],
        "groups": {
            name: [group_document(comparison, one) for one in found]
            for name, found in groups.items()
        },
        "balance": balance_document(comparison),
        "advice": [asdict(one) for one in advise(comparison, usual)],
        "notes": notes_on(comparison),
        "refused": [{"name": label, "reason": why} for label, why in comparison.refused.items()],
        "left_out": [
            {"name": label, "module": module} for label, module in comparison.measured.left_out
        ],
        "spread_out": [
            {"name": label, "module": module} for label, module in comparison.measured.spread_out
        ],
    }


def group_document(comparison: Comparison, one: Group) -> dict[str, Any]:
    """A group of modules: its Gram matrix, and sizes and cosines at the given strengths."""
    strengths = comparison.strengths
    many = range(len(strengths))
    return {
        "name": one.name,
        "modules": one.modules,
        "base_size": None if one.base is None else one.base**0.5,
        "gram": one.gram,
        "sizes": [one.size(at, w) for at, w in enumerate(strengths)],
        "sum": one.sum_size(strengths),
        "cosines": [[_turned(comparison, one, i, j) for j in many] for i in many],
        "chance": [[one.by_chance(i, j) for j in many] for i in many],
    }


def _turned(comparison: Comparison, where: Group, one: int, other: int) -> float | None:
    cosine = where.cosine(one, other)
    return -cosine if cosine is not None and comparison.opposed(one, other) else cosine


def sum_document(comparison: Comparison, strengths: list[float]) -> dict[str, Any]:
    """The sum of all entries at `strengths`."""
    whole = comparison.whole
    size, strongest = (
        whole.sum_size(strengths),
        max(whole.size(at, w) for at, w in enumerate(strengths)),
    )
    return {
        "size": size,
        "relative": comparison.relative(size),
        "to_strongest": size / strongest if strongest else None,
        "if_apart": whole.apart_size(strengths),
        "lost": comparison.lost(strengths),
    }


def balance_document(comparison: Comparison) -> dict[str, Any] | None:
    """Balanced strengths, and the stack that has them; None where there is nothing to balance."""
    found = balanced(comparison.whole, comparison.strengths)
    if found is None:
        return None
    return {
        "strengths": list(found.strengths),
        "stack": stack_text(comparison, found.strengths),
        "sum": sum_document(comparison, list(found.strengths)),
    }


def stack_text(comparison: Comparison, strengths: tuple[float, ...]) -> str:
    """The stack at other base strengths, as `lorakit preview` takes it."""
    pairs = zip(comparison.parts, strengths, strict=True)
    return str(Stack(tuple(Entry(part.name, with_base(part.strength, w)) for part, w in pairs)))


def _base(comparison: Comparison) -> dict[str, Any] | None:
    ground = comparison.ground
    if ground is None:
        return None
    return {
        "label": ground.modules.label,
        "blocks": ground.modules.blocks,
        "dtype": ground.stored,
        "kept_dtype": ground.kept,
        "size": None if comparison.whole.base is None else comparison.whole.base**0.5,
    }


def _entry(comparison: Comparison, at: int, usual: Mapping[str, Usual]) -> dict[str, Any]:
    part, whole = comparison.parts[at], comparison.whole
    weight = part.strength.base
    size = whole.size(at, weight)
    alone = [weight if place == at else 0.0 for place in range(len(comparison.parts))]
    said = usual.get(part.label)
    return {
        "name": part.label,
        "path": str(part.adapter.path),
        "strength": weight,
        "strength_text": str(part.strength),
        "algos": list(part.adapter.report.algos),
        "modules": len(part.matrices),
        "size_at_1": whole.size(at, 1.0),
        "size": size,
        "relative": comparison.relative(size),
        "relative_touched": comparison.touched(at),
        "lost": comparison.lost(alone),
        "lost_fp16": comparison.lost(alone, "F16"),
        "usual": asdict(said) if said else None,
    }


def _pair(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    whole, one, other = comparison.whole, pair.one, pair.other
    sides = {
        side: None
        if angle is None
        else {
            "overlap": angle.overlap,
            "chance": angle.chance,
            "times_chance": angle.times_chance,
            "modules": angle.modules,
        }
        for side, angle in (("outputs", pair.outputs), ("inputs", pair.inputs))
    }
    return {
        "one": comparison.labels[one],
        "other": comparison.labels[other],
        "relation": relation(comparison, one, other, given=True),
        "cosine": comparison.cosine(one, other),
        "cosine_at_1": whole.cosine(one, other),
        "chance": whole.by_chance(one, other),
        "common_modules": pair.modules,
        **sides,
    }
