"""The decision: whether a known change is in a suspect, from its coefficients.

The thresholds are about what can be told apart, and hold for every model: five standard errors for "it is
there" (one chance in three million where it is not), and a part below a twentieth, at two standard
errors, for "it is not". What lies between is undecided. A change that is not there on the whole may be
there in a few blocks or in one kind of layer; since many of these are asked, each has to be surer.
`bench/trace.py` measures both kinds of error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from lorakit.formats import anima
from lorakit.tracing.coefficient import Estimate, Evidence
from lorakit.tracing.products import Products

# "alike": the two share directions, as models do that were trained alike, and neither holds the other.
Answer = Literal["there", "opposite", "unclear", "alike", "not there"]

CERTAIN = 5.0
# Unrelated models may share a hundredth of a direction; that is no ingredient.
FAINT = 0.03
_NOTHING = 0.05
_AT_ERRORS = 2.0
# For one of some fifty parts. With ten modules, an error taken from their spread is itself uncertain.
_CERTAIN_IN_PART = 10.0
_LEAST_IN_PART = 0.3
# A merge brings every module of a change, or of a block, or every layer of a kind, at one strength. Where
# little is there and modules differ by more than this part of it, it was no merge.
UNEVEN = 0.25
_LITTLE = 0.35
_WORTH_A_LOOK = 4.0


@dataclass(frozen=True)
class Weighed:
    """What is found of a change, and `where`, if it is in some part alone (`block 14`)."""

    answer: Answer
    estimate: Estimate
    where: str | None = None


def weigh_weights(evidence: Evidence) -> Weighed:
    """Whether a change lies between two checkpoints."""
    return _weighed(evidence, of_change=False)


def weigh_change(evidence: Evidence) -> Weighed:
    """Whether a change is in an adapter, whose own scale is arbitrary: the direction alone counts."""
    return _weighed(evidence, of_change=True)


def _weighed(evidence: Evidence, *, of_change: bool) -> Weighed:
    whole = evidence.estimate()
    found = _answer_of_change(whole) if of_change else _answer(whole)
    if found == "there":
        little = max(whole.kept, whole.value, whole.share) < _LITTLE
        alike = little and evidence.unevenness(whole.value) > UNEVEN
        return Weighed("alike" if alike else found, whole)
    parts = {
        where: evidence.estimate(names)
        for where, names in _parts_worth_a_look(evidence.products).items()
    }
    surest = max(parts, key=lambda where: parts[where].z, default=None)
    if surest is not None and _there_in_part(parts[surest]):
        return Weighed("there", parts[surest], surest)
    return Weighed(found, whole)


def _answer(found: Estimate) -> Answer:
    part = max(found.kept, found.share, found.value, key=abs)
    if abs(found.z) >= CERTAIN:
        if abs(part) < FAINT:
            return "not there"
        return "there" if part > 0 else "opposite"
    at_most = max(found.kept, 0.0) + _AT_ERRORS * found.kept_error
    return "not there" if found.count and at_most < _NOTHING else "unclear"


def _answer_of_change(found: Estimate) -> Answer:
    if abs(found.z) >= CERTAIN:
        if max(abs(found.share), abs(found.kept)) < FAINT:
            return "not there"
        return "there" if found.share > 0 else "opposite"
    at_most = max(found.share, 0.0) + _AT_ERRORS * found.share_error
    return "not there" if at_most < _NOTHING else "unclear"


def _there_in_part(found: Estimate) -> bool:
    return found.z >= _CERTAIN_IN_PART and max(found.kept, found.share) >= _LEAST_IN_PART


def _parts_worth_a_look(products: Products) -> dict[str, set[str]]:
    """The blocks, and the layers in all blocks, where the two changes agree: their modules."""
    found: dict[str, set[str]] = {}
    for labels in _labels(products.names):
        numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        agreement = products.sign_z(np.array([numbers[label] for label in labels], dtype=int))
        for label, number in numbers.items():
            if label is not None and agreement[number] > _WORTH_A_LOOK:
                pairs = zip(products.names, labels, strict=True)
                found[label] = {name for name, there in pairs if there == label}
    return found


@lru_cache(maxsize=16)
def _labels(names: tuple[str, ...]) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
    """For each module the block it is in, and the layer it is; None outside the blocks."""
    blocks = [anima.block_of(name) for name in names]
    layers = [
        None if block is None else f"the layers {name.split('.', 2)[2]}"
        for name, block in zip(names, blocks, strict=True)
    ]
    return tuple(None if block is None else f"block {block}" for block in blocks), tuple(layers)
