"""Trace a suspect: which known models it holds, how much of them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import joint, sign_nulls
from lorakit.tracing.grid import Grid, common_grid, with_blocks
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.parts import Weigh, by_blocks, by_component
from lorakit.tracing.recognition import (
    NO_ANCESTORS,
    Ancestors,
    recognise_adapter,
    recognise_base,
)
from lorakit.tracing.relation import related_modules
from lorakit.tracing.report import Nulls, Trace
from lorakit.tracing.weighing import CERTAIN, observed_in, weigh_change, weigh_weights

Kind = Literal["checkpoint", "adapter"]
# Gives copies of an adapter's change that are not in the suspect, by how they were made.
NullsOf = Callable[[Known], Mapping[Literal["sign-flipped", "rank-permuted"], Sequence[Sketch]]]

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
    findings = recognise(suspect, known, ancestors=ancestors, about=about)
    sorted_findings = sorted(findings, key=_certainty, reverse=True)
    told_apart = _told_apart(suspect, kind, sorted_findings)
    return tuple(_traced(suspect, kind, finding, nulls_of) for finding in told_apart)


def _certainty(finding: Finding) -> tuple[bool, bool, float]:
    there = finding.outcome in ("same", "contains")
    return finding.outcome == "same", there, abs(finding.z or 0.0)


def _traced(suspect: Sketch, kind: Kind, finding: Finding, nulls_of: NullsOf | None) -> Trace:
    change = finding.change
    if change is None:
        return Trace(finding)
    nulls = [_flipped(suspect, kind, finding, change)]
    if finding.outcome != "contains":
        return Trace(finding, tuple(nulls))
    if nulls_of is not None and finding.known.holds == "change":
        nulls += [
            _among(how, [_weigh(suspect, kind, finding, null) for null in sketches])
            for how, sketches in nulls_of(finding.known).items()
        ]
    modules = tuple(change.values)
    weigh = _weigher(suspect, kind, finding, change)
    return Trace(finding, tuple(nulls), by_component(modules, weigh), by_blocks(modules, weigh))


def _weigher(suspect: Sketch, kind: Kind, finding: Finding, change: Sketch) -> Weigh:
    """How much of `change` there is in a set of its modules."""
    if kind == "checkpoint" and finding.reference is not None:
        reference = finding.reference.sketch
        related = set(related_modules(suspect, reference))
        aligned = with_blocks(change, reference.blocks)
        return lambda wanted: weigh_weights(suspect, reference, aligned, wanted & related)[0]
    return lambda wanted: weigh_change(
        replace(suspect, values={n: v for n, v in suspect.values.items() if n in wanted}),
        replace(change, values={n: v for n, v in change.values.items() if n in wanted}),
    )[0]


def _weigh(suspect: Sketch, kind: Kind, finding: Finding, change: Sketch) -> float:
    return _weigher(suspect, kind, finding, change)(set(change.values)).kept


def _flipped(suspect: Sketch, kind: Kind, finding: Finding, change: Sketch) -> Nulls:
    grid, observed, wanted = _compared(suspect, kind, finding, change)
    found = sign_nulls(observed, wanted, grid, _NULLS)
    return Nulls("sign-flipped", _NULLS, float(np.abs(found).max(initial=0.0)))


def _among(how: Literal["sign-flipped", "rank-permuted"], values: Sequence[float]) -> Nulls:
    return Nulls(how, len(values), max(map(abs, values), default=0.0))


def _compared(
    suspect: Sketch, kind: Kind, finding: Finding, change: Sketch
) -> tuple[Grid, np.ndarray, np.ndarray]:
    """What is observed and what is looked for, on their common grid."""
    if kind == "checkpoint" and finding.reference is not None:
        reference = finding.reference.sketch
        related = set(related_modules(suspect, reference))
        return observed_in(suspect, reference, change, related)
    aligned = with_blocks(suspect, change.blocks)
    grid = common_grid([change, aligned])
    return grid, grid.take(aligned), grid.take(change)


def _told_apart(suspect: Sketch, kind: Kind, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, of which those are withdrawn that surer ones explain.

    Two adapters that are alike are both there where one is, and the report says so.
    """
    kept: list[Finding] = []
    result = []
    for finding in findings:
        if finding.outcome == "contains" and finding.change is not None:
            finding = _beside(suspect, kind, finding, kept)
            if finding.outcome == "contains":
                kept.append(finding)
        result.append(finding)
    return result


def _beside(suspect: Sketch, kind: Kind, finding: Finding, kept: Sequence[Finding]) -> Finding:
    """The finding in the light of surer ones."""
    assert finding.change is not None
    for other in kept:
        assert other.change is not None
        if abs(_cosine(finding.change, other.change)) > _ALIKE:
            note = f" Its change is that of {other.known.name}: one of the two is there, or both."
            return replace(finding, how=finding.how + note)
    rivals = [other for other in kept if other.reference == finding.reference]
    if not rivals:
        return finding
    changes = [one.change for one in (finding, *rivals) if one.change is not None]
    grid, observed, _ = _compared(suspect, kind, finding, _united(changes))
    columns = [grid.take(with_blocks(change, changes[0].blocks)) for change in changes]
    values, errors = joint(observed, columns, grid)
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
