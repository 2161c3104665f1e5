"""Several changes at once: which of them others explain, and how much there is of each beside the others.

Changes overlap: styles share directions with one another, and one known adapter may be a merge of others. So
what was found of each alone is looked at again next to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lorakit.sketches.sketch import Sketch
from lorakit.tracing import sentences
from lorakit.tracing.comparison import Comparison, change_next_to
from lorakit.tracing.grid import common_grid, with_blocks
from lorakit.tracing.joint import joint
from lorakit.tracing.known import Finding
from lorakit.tracing.relation import Relations
from lorakit.tracing.weighing import CERTAIN

Kind = Literal["checkpoint", "adapter"]

# Two changes with a larger cosine cannot be told apart.
_ALIKE = 0.9


@dataclass(frozen=True)
class Asked:
    """The suspect, and how it stands to the models it was compared with."""

    suspect: Sketch
    kind: Kind
    relations: Relations

    def next_to(self, finding: Finding, change: Sketch) -> Comparison:
        """What was observed where `finding` was made, next to a change."""
        reference = finding.reference.sketch if finding.reference else None
        if self.kind == "checkpoint" and reference is not None:
            return self.relations.gap(self.suspect, reference).next_to(change)
        return change_next_to(self.suspect, change, reference)

    def aligned(self, finding: Finding, change: Sketch) -> Sketch:
        """The change under the block numbers of what it was compared with."""
        whole = self.kind == "checkpoint" and finding.reference is not None
        model = finding.reference.sketch if whole and finding.reference else change
        return with_blocks(change, model.blocks)


def told_apart(
    asked: Asked, findings: Sequence[Finding]
) -> list[tuple[Finding, Comparison | None]]:
    """The findings, surest first, each with what was observed once the others are taken away.

    Those are withdrawn that surer ones explain. Of two adapters that are alike both are there where one
    is, and the report says so. The strengths of the rest are what each has beside all others.
    """
    kept: list[Finding] = []
    told: list[Finding] = []
    for finding in findings:
        if finding.outcome == "contains" and finding.change is not None:
            finding = _beside(asked, finding, kept)
            if finding.outcome == "contains" and finding.like is None:
                kept.append(finding)
        told.append(finding)
    return [_alone(asked, one, [other for other in kept if other is not one]) for one in told]


def _alone(
    asked: Asked, finding: Finding, others: Sequence[Finding]
) -> tuple[Finding, Comparison | None]:
    """The finding once the others are taken away, and what is then observed, if it is of interest."""
    if finding.change is None or finding.outcome not in ("contains", "undecided"):
        return finding, None
    compared = asked.next_to(finding, finding.change)
    if finding.outcome == "undecided" or finding.like is not None or not others:
        return finding, compared
    try:
        values, _ = _joint(asked, finding, others)
    except np.linalg.LinAlgError:
        return finding, compared
    observed = compared.observed.copy()
    for value, other in zip(values[1:], others, strict=True):
        assert other.change is not None
        observed -= value * compared.grid.take(asked.aligned(finding, other.change))
    cleared = replace(compared, observed=observed)
    finding = replace(finding, beside=tuple(zip(others, values[1:], strict=True)))
    if finding.where is not None:
        return finding, cleared
    found = cleared.evidence.estimate()
    beside = replace(finding, strength=found.value, error=found.error, z=found.z)
    return replace(beside, how=sentences.held(beside)), cleared


def _beside(asked: Asked, finding: Finding, kept: Sequence[Finding]) -> Finding:
    """The finding in the light of surer ones."""
    for other in kept:
        if abs(_cosine(finding, other)) > _ALIKE:
            note = f" Its change is that of {other.known.name}: one of the two is there, or both."
            return replace(finding, how=finding.how + note, like=other.known.name)
    if not kept:
        return finding
    names = " and ".join(other.known.name for other in kept)
    try:
        values, errors = _joint(asked, finding, kept)
    except np.linalg.LinAlgError:
        note = f" Its change is a mixture of those of {names}, and cannot be told from them."
        return replace(finding, how=finding.how + note, like=kept[0].known.name)
    if abs(values[0]) >= CERTAIN * errors[0]:
        return finding
    how = f"What it shares with {finding.known.name} is explained by {names}."
    return replace(finding, outcome="absent", how=how, strength=float(values[0]))


def _joint(
    asked: Asked, finding: Finding, others: Sequence[Finding]
) -> tuple[Sequence[float], Sequence[float]]:
    """The coefficients of the finding's change and of those of the others, and their errors."""
    changes = [
        asked.aligned(finding, one.change) for one in (finding, *others) if one.change is not None
    ]
    compared = asked.next_to(finding, _united(changes))
    columns = [compared.grid.take(change) for change in changes]
    values, errors = joint(compared.observed, columns, compared.grid)
    return values.tolist(), errors.tolist()


def _united(changes: Sequence[Sketch]) -> Sketch:
    """A sketch that has every module that any of `changes` has."""
    values = {name: found for change in changes for name, found in change.values.items()}
    return replace(changes[0], values=values)


def _cosine(one: Finding, other: Finding) -> float:
    assert one.change is not None
    assert other.change is not None
    changes = one.change, with_blocks(other.change, one.change.blocks)
    grid = common_grid([_united(changes)])
    a, b = (grid.take(change) for change in changes)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
