"""Trace a suspect: which known models it holds, how much of them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import sign_nulls
from lorakit.tracing.comparison import Comparison, change_next_to
from lorakit.tracing.grid import common_grid, with_blocks
from lorakit.tracing.joint import joint
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.own_change import Ancestors
from lorakit.tracing.parts import by_blocks, by_component
from lorakit.tracing.recognition import NO_ANCESTORS, recognise_adapter, recognise_base
from lorakit.tracing.relation import Relations
from lorakit.tracing.report import NullKind, Nulls, Trace
from lorakit.tracing.weighing import CERTAIN

Kind = Literal["checkpoint", "adapter"]
# Gives copies of an adapter's change that are not in the suspect, by how they were made.
NullsOf = Callable[[Known], Mapping[NullKind, Sequence[Sketch]]]

_NULLS = 1000
# Two changes with a larger cosine cannot be told apart.
_ALIKE = 0.9


def trace_sketch(
    suspect: Sketch,
    kind: Kind,
    known: Sequence[Known],
    *,
    about: Iterable[Known] | None = None,
    ancestors: Ancestors = NO_ANCESTORS,
    nulls_of: NullsOf | None = None,
) -> tuple[Trace, ...]:
    """What `suspect` holds of each of `known`, or of those `about` alone, the surest first.

    `nulls_of` gives further nulls for adapters; without it there are those of flipped signs.
    """
    recognise = recognise_base if kind == "checkpoint" else recognise_adapter
    relations = Relations()
    findings = recognise(suspect, known, ancestors=ancestors, about=about, relations=relations)
    asked = _Asked(suspect, kind, relations)
    told_apart = _told_apart(asked, sorted(findings, key=_certainty, reverse=True))
    return tuple(_traced(asked, finding, nulls_of) for finding in told_apart)


@dataclass(frozen=True)
class _Asked:
    """The suspect, and how it stands to the models it was compared with."""

    suspect: Sketch
    kind: Kind
    relations: Relations

    def next_to(self, finding: Finding, change: Sketch) -> Comparison:
        """What was observed, next to a change that was looked for."""
        reference = finding.reference.sketch if finding.reference else None
        if self.kind == "checkpoint" and reference is not None:
            return self.relations.gap(self.suspect, reference).next_to(change)
        return change_next_to(self.suspect, change, reference)


def _certainty(finding: Finding) -> tuple[bool, bool, float]:
    there = finding.outcome in ("same", "contains")
    return finding.outcome == "same", there, abs(finding.z or 0.0)


def _traced(asked: _Asked, finding: Finding, nulls_of: NullsOf | None) -> Trace:
    change = finding.change
    if change is None or finding.outcome not in ("contains", "undecided"):
        return Trace(finding)
    compared = asked.next_to(finding, change)
    known = with_blocks(
        change, finding.reference.sketch.blocks if finding.reference else change.blocks
    ).values
    evidence = compared.evidence
    flipped = sign_nulls(evidence.products, _NULLS)
    nulls = [Nulls("sign-flipped", _NULLS, float(np.abs(flipped).max(initial=0.0)))]
    if nulls_of is not None and finding.known.holds == "change":
        for how, sketches in nulls_of(finding.known).items():
            values = [_coefficient(compared, null) for null in sketches]
            nulls.append(Nulls(how, len(values), max(map(abs, values), default=0.0)))
    names = [name for name in compared.grid.names if name in known]
    return Trace(
        finding,
        tuple(nulls),
        by_component(names, evidence.estimate),
        by_blocks(names, evidence.estimate),
    )


def _coefficient(compared: Comparison, null: Sketch) -> float:
    """How much of a change that is not there seems to be there."""
    drawn = replace(compared, change=compared.grid.take(null), steps=None)
    return drawn.evidence.estimate().value


def _told_apart(asked: _Asked, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, of which those are withdrawn that surer ones explain.

    Two adapters that are alike are both there where one is, and the report says so.
    """
    kept: list[Finding] = []
    result = []
    for finding in findings:
        if finding.outcome == "contains" and finding.change is not None:
            finding = _beside(asked, finding, kept)
            if finding.outcome == "contains":
                kept.append(finding)
        result.append(finding)
    return result


def _beside(asked: _Asked, finding: Finding, kept: Sequence[Finding]) -> Finding:
    """The finding in the light of surer ones."""
    assert finding.change is not None
    for other in kept:
        assert other.change is not None
        if abs(_cosine(finding.change, other.change)) > _ALIKE:
            first = other.like or other.known.name
            note = f" Its change is that of {first}: one of the two is there, or both."
            return replace(finding, how=finding.how + note, like=first)
    rivals = [
        other for other in kept if other.reference == finding.reference and other.like is None
    ]
    if not rivals:
        return finding
    changes = [one.change for one in (finding, *rivals) if one.change is not None]
    compared = asked.next_to(finding, _united(changes))
    grid = compared.grid
    columns = [grid.take(with_blocks(change, changes[0].blocks)) for change in changes]
    values, errors = joint(compared.observed, columns, grid)
    if abs(values[0]) >= CERTAIN * errors[0]:
        return finding
    names = " and ".join(other.known.name for other in rivals)
    how = f"What it shares with {finding.known.name} is explained by {names}."
    return replace(finding, outcome="absent", how=how, strength=float(values[0]))


def _united(changes: Sequence[Sketch]) -> Sketch:
    """A sketch that has every module that any of `changes` has."""
    values = {name: found for change in changes for name, found in change.values.items()}
    return replace(changes[0], values=values)


def _cosine(one: Sketch, other: Sketch) -> float:
    other = with_blocks(other, one.blocks)
    grid = common_grid([_united([one, other])])
    a, b = grid.take(one), grid.take(other)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
