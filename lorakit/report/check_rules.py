"""What a check's page needs to give its advice anew while strengths change: sentences, limits and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lorakit.merging.checking.advice import DTYPES, refinement, refused, rounded_away
from lorakit.merging.checking.balance import CANCELLED, balanced
from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.relations import Place, places, relation
from lorakit.merging.checking.usual import Usual
from lorakit.merging.checking.wording import LIMITS, SENTENCES, figure
from lorakit.strengths import MAX_STRENGTH
from lorakit.strengths.text import number

# Sliders go by hundredths.
STEPS = 100
# Steps that are looked at together; the table ends with those of which none is worth a word.
_AT_ONCE = 25


def advice_rules(
    comparison: Comparison, usual: Mapping[str, Usual], reaches: Sequence[float], digits: int
) -> dict[str, Any]:
    """Everything that the advice stands on, as JSON takes it.

    `reaches` are the ends of the sliders; figures have `digits` digits. What rounding puts wrong comes as
    a table, since it needs the sizes of every module.
    """
    ground, kept = comparison.ground, comparison.ground.kept if comparison.ground else None
    count = range(len(comparison.parts))
    return {
        "sentences": dict(SENTENCES),
        "limits": {**LIMITS, "cancelled": CANCELLED, "most": MAX_STRENGTH},
        "refused": [one.text for one in refused(comparison)],
        "labels": comparison.labels,
        "plain": [part.strength.is_plain for part in comparison.parts],
        "relations": [
            [pair.one, pair.other, relation(comparison, pair.one, pair.other)]
            for pair in comparison.pairs
        ],
        "places": [_place(comparison, one, digits) for one in places(comparison)],
        "dtype": None if ground is None or kept is None else DTYPES[kept],
        "lost": [_lost(comparison, at, reaches[at]) for at in count],
        "usual": [_usual(usual.get(label)) for label in comparison.labels],
    }


def _place(comparison: Comparison, one: Place, digits: int) -> dict[str, Any]:
    pair = (one.one, one.other)
    gram = [[float(f"{one.group.gram[i][j]:.{digits}g}") for j in pair] for i in pair]
    return {
        "pair": pair,
        "words": one.words,
        "where": refinement(one),
        "kind": one.where == "kinds",
        "everywhere": one.where == "blocks" and len(one.names) == len(comparison.blocks),
        "gram": gram,
        "chance": one.chance,
    }


def _lost(comparison: Comparison, at: int, reach: float) -> dict[str, tuple[str, ...]]:
    """By the size of the strength, as text: per cent put wrong by rounding, and those in fp16 instead.

    Larger changes lose less, so the table ends where it is not worth a word.
    """
    steps = [step / STEPS for step in range(1, round(reach * STEPS) + 1)]
    # A strength that was given or is proposed may lie between two steps.
    balance = balanced(comparison.whole, comparison.strengths)
    others = [comparison.strengths[at], *([balance.strengths[at]] if balance else [])]
    found: dict[str, tuple[str, ...]] = {}
    for first in range(0, len(steps), _AT_ONCE):
        some = steps[first : first + _AT_ONCE]
        if not (told := _told(comparison, at, some)):
            break
        found |= told
    return found | _told(comparison, at, [abs(strength) for strength in others])


def _told(
    comparison: Comparison, at: int, strengths: Sequence[float]
) -> dict[str, tuple[str, ...]]:
    pairs = zip(strengths, rounded_away(comparison, at, strengths), strict=True)
    return {number(strength): _percents(lost) for strength, lost in pairs if lost is not None}


def _percents(lost: tuple[float, float | None]) -> tuple[str, ...]:
    return tuple(figure(100 * part, 0) for part in lost if part is not None)


def _usual(said: Usual | None) -> dict[str, Any] | None:
    if said is None or not said.is_range:
        return None
    return {**asdict(said), "words": said.words}
