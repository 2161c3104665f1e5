"""Recognise known models in a checkpoint or an adapter, from weight sketches alone.

Anima, AnimaYume, RDBT and all that was made of them lie within a few per cent of one another, so being
near proves nothing. What decides is the coefficient on a known model's own change: what separates it from
the model that it was made from. Where that one is not known, a relative cannot be told from a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from lorakit.sketches.sketch import Sketch
from lorakit.tracing import sentences
from lorakit.tracing.comparison import change_next_to
from lorakit.tracing.known import Finding, Known, Outcome
from lorakit.tracing.own_change import Ancestors, Family, OwnChange
from lorakit.tracing.relation import Relations
from lorakit.tracing.weighing import CERTAIN, Answer, Weighed, weigh_change, weigh_weights

NO_ANCESTORS: Ancestors = MappingProxyType({})
# How many relatives a checkpoint is compared with to find an adapter in it, the nearest first.
_MOST_REFERENCES = 3
# From the least to the most that has to be respected.
_SEVERITY: tuple[Outcome, ...] = ("absent", "unseen", "undecided", "contains", "same")
_OUTCOMES: Mapping[Answer, Outcome] = MappingProxyType(
    {
        "there": "contains",
        "opposite": "undecided",
        "unclear": "undecided",
        "alike": "absent",
        "not there": "absent",
    }
)


def recognise_base(
    suspect: Sketch,
    known: Sequence[Known],
    *,
    ancestors: Ancestors = NO_ANCESTORS,
    about: Iterable[Known] | None = None,
    relations: Relations | None = None,
) -> tuple[Finding, ...]:
    """What the checkpoint `suspect` has of each of `known`, or of those `about` alone."""
    family = Family(known, ancestors, relations or Relations())
    wanted = known if about is None else about
    return tuple(_in_base(suspect, one, family) for one in wanted)


def recognise_adapter(
    suspect: Sketch,
    known: Sequence[Known],
    *,
    ancestors: Ancestors = NO_ANCESTORS,
    about: Iterable[Known] | None = None,
    relations: Relations | None = None,
) -> tuple[Finding, ...]:
    """What the adapter `suspect` has of each of `known`, or of those `about` alone."""
    family = Family(known, ancestors, relations or Relations())
    wanted = known if about is None else about
    return tuple(_in_adapter(suspect, one, family) for one in wanted)


def outcome_of(answer: Answer) -> Outcome:
    """What an answer about a model's own change says of the model."""
    return _OUTCOMES[answer]


def _in_base(suspect: Sketch, one: Known, family: Family) -> Finding:
    if one.holds == "change":
        return _change_in_base(suspect, one, family)
    relation = family.relations.between(suspect, one.sketch)
    if relation.same:
        return Finding(one, "same", sentences.same(one, suspect, relation), 1.0)
    if relation.strangers:
        return Finding(one, "absent", sentences.strange(one, relation))
    changes = family.own_changes(one)
    if changes:
        return _gravest([_weighed(suspect, own, own.parent or one, family) for own in changes])
    if family.was_first(one):
        return Finding(one, "contains", sentences.descends(one, relation))
    how = sentences.near(one, relation, family.claimed_parents(one))
    return Finding(one, "undecided", how, settle=_parent_of(one, family))


def _change_in_base(suspect: Sketch, one: Known, family: Family) -> Finding:
    """An adapter inside a checkpoint: any relative that does not hold it will do for comparison."""
    own = OwnChange(one, None, one.sketch)
    references = _references(suspect, one, family)
    if references:
        findings = [_weighed(suspect, own, base, family) for base in references]
        # Next to a relative that holds it itself, its opposite is seen, which says nothing.
        telling = [finding for finding in findings if (finding.z or 0.0) > -CERTAIN]
        return _gravest(telling or findings)
    weighed = weigh_weights(change_next_to(suspect, one.sketch).evidence)
    if weighed.answer == "there":
        return _finding(own, weighed)
    found = weighed.estimate
    how = (
        f"Nothing points to {one.name}, but without another model of the same family registered a part "
        f"of it below {5 * found.kept_error:.2f} would not be seen."
    )
    settle = "another model of its family"
    return Finding(one, "unseen", how, found.value, found.error, found.z, settle)


def _references(suspect: Sketch, one: Known, family: Family) -> list[Known]:
    relations = {
        id(base): family.relations.between(suspect, base.sketch)
        for base in family.references_for(one)
    }
    relatives = [
        base
        for base in family.references_for(one)
        if not (relations[id(base)].strangers or relations[id(base)].same)
    ]
    relatives.sort(key=lambda base: relations[id(base)].distance)
    return relatives[:_MOST_REFERENCES]


def _in_adapter(suspect: Sketch, one: Known, family: Family) -> Finding:
    findings = []
    for own in family.own_changes(one):
        changed = own.parent.sketch if own.parent else None
        weighed = weigh_change(change_next_to(suspect, own.change, changed).evidence)
        # What the change was made to tells how coarse it is; the adapter is compared with nothing.
        findings.append(replace(_finding(own, weighed), reference=own.parent))
    if findings:
        return _gravest(findings)
    if family.was_first(one):
        how = f"{one.name} is a model that adapters change, and changed none."
        return Finding(one, "absent", how)
    return _without_parent(suspect, one, family)


def _without_parent(suspect: Sketch, one: Known, family: Family) -> Finding:
    """An adapter and a model whose own change is not known: does the adapter's stand out in its weights?"""
    weighed = weigh_weights(change_next_to(one.sketch, suspect).evidence)
    settle = _parent_of(one, family)
    if weighed.answer == "there":
        how = (
            f"The weights of {one.name} seem to hold what this adapter changes "
            f"({sentences.sure(weighed.estimate)})."
        )
        return Finding(one, "undecided", how, settle=settle)
    how = sentences.unseen(one, family.claimed_parents(one))
    return Finding(one, "unseen", how, settle=settle)


def _parent_of(one: Known, family: Family) -> str:
    return sentences.parent_of(one, family.may_come_from(one), family.claimed_parents(one))


def _weighed(suspect: Sketch, own: OwnChange, reference: Known, family: Family) -> Finding:
    gap = family.relations.gap(suspect, reference.sketch)
    return _finding(own, weigh_weights(gap.next_to(own.change).evidence), reference)


def _finding(own: OwnChange, weighed: Weighed, reference: Known | None = None) -> Finding:
    found = weighed.estimate
    finding = Finding(
        own.known,
        outcome_of(weighed.answer),
        sentences.weighed(own.known, reference, weighed),
        found.value,
        found.error,
        found.z,
        change=own.change,
        reference=reference,
        where=weighed.where,
        count=found.count,
    )
    return (
        finding if finding.outcome != "contains" else replace(finding, how=sentences.held(finding))
    )


def _gravest(findings: Sequence[Finding]) -> Finding:
    return max(findings, key=lambda finding: _SEVERITY.index(finding.outcome))
