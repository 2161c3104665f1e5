"""Trace a suspect: which known models it holds, how much of them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import sign_nulls
from lorakit.tracing.comparison import Comparison
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.own_change import Ancestors
from lorakit.tracing.parts import by_blocks, by_component
from lorakit.tracing.recognition import NO_ANCESTORS, recognise_adapter, recognise_base
from lorakit.tracing.relation import Relations
from lorakit.tracing.report import NullKind, Nulls, Trace
from lorakit.tracing.telling_apart import Asked, Kind, told_apart

# Gives copies of an adapter's change that are not in the suspect, by how they were made.
NullsOf = Callable[[Known], Mapping[NullKind, Sequence[Sketch]]]

_NULLS = 1000


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
    asked = Asked(suspect, kind, relations)
    surest_first = sorted(findings, key=_certainty, reverse=True)
    return tuple(
        _traced(asked, finding, compared, nulls_of)
        for finding, compared in told_apart(asked, surest_first)
    )


def _certainty(finding: Finding) -> tuple[bool, bool, float]:
    there = finding.outcome in ("same", "contains")
    return finding.outcome == "same", there, abs(finding.z or 0.0)


def _traced(
    asked: Asked, finding: Finding, compared: Comparison | None, nulls_of: NullsOf | None
) -> Trace:
    if compared is None or finding.change is None:
        return Trace(finding)
    known = asked.aligned(finding, finding.change).values
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
