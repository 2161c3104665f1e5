"""The decision: whether a known change is in a suspect, from its coefficients.

The thresholds are about what can be told apart, and hold for every model: five standard errors for "it is
there" (one chance in three million where it is not), and a part below a twentieth, at two standard
errors, for "it is not". What lies between is undecided. A change that is not there on the whole may be
there in a few blocks or in one kind of layer; since many of these are asked, each has to be surer.
`bench/trace.py` measures both kinds of error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lorakit.formats import anima
from lorakit.tracing.coefficient import Estimate, Evidence

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
        for where, names in _parts(evidence.products.names).items()
        if evidence.products.sign_z(names) > _WORTH_A_LOOK
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


def _parts(names: tuple[str, ...]) -> Mapping[str, set[str]]:
    """The modules of each block, and those of each layer in all blocks."""
    parts: dict[str, set[str]] = defaultdict(set)
    for name in names:
        block = anima.block_of(name)
        if block is not None:
            parts[f"block {block}"].add(name)
            parts[f"the layers {name.split('.', 2)[2]}"].add(name)
    return parts
