"""Recognise known models in a checkpoint or an adapter, from weight sketches alone.

Anima, AnimaYume, RDBT and all that was made of them lie within a few per cent of one another, so being
near proves nothing. What decides is the coefficient on a known model's own change: what separates it from
the model that it was made from. Where that one is not known, a relative cannot be told from a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import Estimate
from lorakit.tracing.grid import difference
from lorakit.tracing.known import Finding, Known, Outcome
from lorakit.tracing.relation import Relation, Relations, made_directly
from lorakit.tracing.weighing import (
    Answer,
    answer,
    answer_of_change,
    weigh_change,
    weigh_weights,
)

# Model -> the models that it may have been made from, as in the table of known models; none for a model
# that was trained from nothing, and no entry where that is not known.
Ancestors = Mapping[str, Sequence[str]]
NO_ANCESTORS: Ancestors = MappingProxyType({})
# From the least to the most that has to be respected.
_SEVERITY: tuple[Outcome, ...] = ("absent", "unseen", "undecided", "contains", "same")
_OUTCOMES: Mapping[Answer, Outcome] = MappingProxyType(
    {
        "there": "contains",
        "opposite": "undecided",
        "unclear": "undecided",
        "not there": "absent",
    }
)


@dataclass(frozen=True)
class OwnChange:
    """What a known model changed, and the model it changed; none for an adapter."""

    known: Known
    parent: Known | None
    change: Sketch


def own_changes(
    known: Known, others: Iterable[Known], ancestors: Ancestors = NO_ANCESTORS
) -> list[OwnChange]:
    """The changes that make `known` out of each of `others` that it was certainly made from.

    That is the declared parent, else those that may be ancestors of its model and whose untouched modules
    it shares.
    """
    if known.holds == "change":
        return [OwnChange(known, None, known.sketch)]
    bases = [other for other in others if other.holds == "weights" and other is not known]
    declared = [base for base in bases if base.content == known.parent]
    possible = [
        base
        for base in bases
        if base.model is not None and base.model in ancestors.get(known.model or "", ())
    ]
    parents = declared or [base for base in possible if made_directly(known.sketch, base.sketch)]
    return [OwnChange(known, parent, difference(known.sketch, parent.sketch)) for parent in parents]


def references_for(
    one: Known, known: Iterable[Known], ancestors: Ancestors = NO_ANCESTORS
) -> list[Known]:
    """The models that a checkpoint is compared with to find the adapter `one` in it.

    They must not hold it themselves: what it was made from, else its model's ancestors, else models that
    others were made from, else all that are not that model.
    """
    bases = [base for base in known if base.holds == "weights"]
    parents = {other.parent for other in known}
    allowed = ancestors.get(one.model or "", ())
    choices = (
        [base for base in bases if base.content == one.parent],
        [base for base in bases if base.model in allowed],
        [base for base in bases if base.content in parents and not allowed],
        [base for base in bases if not allowed and (one.model is None or base.model != one.model)],
    )
    return next((choice for choice in choices if choice), [])


def recognise_base(
    suspect: Sketch,
    known: Sequence[Known],
    *,
    ancestors: Ancestors = NO_ANCESTORS,
    about: Iterable[Known] | None = None,
) -> tuple[Finding, ...]:
    """What the checkpoint `suspect` has of each of `known`, or of those `about` alone."""
    wanted = known if about is None else about
    relations = Relations(suspect)
    return tuple(_in_base(relations, one, known, ancestors) for one in wanted)


def recognise_adapter(
    suspect: Sketch,
    known: Sequence[Known],
    *,
    ancestors: Ancestors = NO_ANCESTORS,
    about: Iterable[Known] | None = None,
) -> tuple[Finding, ...]:
    """What the adapter `suspect` has of each of `known`, or of those `about` alone."""
    wanted = known if about is None else about
    return tuple(_in_adapter(suspect, one, known, ancestors) for one in wanted)


def _in_base(
    relations: Relations, one: Known, known: Sequence[Known], ancestors: Ancestors
) -> Finding:
    if one.holds == "change":
        return _change_in_base(relations, one, known, ancestors)
    relation = relations.to(one.sketch)
    if relation.same:
        return Finding(one, "same", _same(one, relations.suspect, relation), 1.0)
    if relation.strangers:
        return Finding(one, "absent", _strange(one, relation))
    changes = own_changes(one, known, ancestors)
    if not changes and ancestors.get(one.model or "") == ():
        return Finding(one, "contains", _descends(one, relation))
    if not changes:
        return _near(one, relation, ancestors)
    return _gravest([_weighed(relations, own, own.parent or one) for own in changes])


def _change_in_base(
    relations: Relations, one: Known, known: Sequence[Known], ancestors: Ancestors
) -> Finding:
    """An adapter inside a checkpoint: any relative that does not hold it will do for comparison."""
    references = [
        base
        for base in references_for(one, known, ancestors)
        if not (relation := relations.to(base.sketch)).strangers and not relation.same
    ]
    if references:
        own = OwnChange(one, None, one.sketch)
        return _gravest([_weighed(relations, own, reference) for reference in references])
    found, _ = weigh_change(relations.suspect, one.sketch)
    if answer(found) == "there":
        return _finding(OwnChange(one, None, one.sketch), "there", found)
    how = (
        f"Nothing points to {one.name}, but without another model of the same family registered a part "
        f"of it below {5 * found.kept_error:.2f} would not be seen."
    )
    settle = "another model of its family"
    return Finding(one, "unseen", how, found.value, found.error, found.z, settle)


def _in_adapter(
    suspect: Sketch, one: Known, known: Sequence[Known], ancestors: Ancestors
) -> Finding:
    findings = []
    for own in own_changes(one, known, ancestors):
        found, _ = weigh_change(suspect, own.change, own.parent.sketch if own.parent else None)
        finding = _finding(own, answer_of_change(found), found)
        findings.append(replace(finding, reference=own.parent))
    if findings:
        return _gravest(findings)
    if ancestors.get(one.model or "") == ():
        return Finding(
            one, "absent", f"{one.name} is a model that adapters change, and changed none."
        )
    # The model alone: does what the adapter changes stand out in its weights?
    found, _ = weigh_change(one.sketch, suspect)
    settle = _ancestor_names(one, ancestors)
    if answer(found) == "there":
        how = (
            f"The weights of {one.name} seem to hold what this adapter changes (z = {found.z:.1f})."
        )
        return Finding(one, "undecided", how, settle=settle)
    how = (
        f"Nothing points to {one.name}, but the model that it was made from is not registered, so its "
        "own change is not known."
    )
    return Finding(one, "unseen", how, settle=settle)


def _weighed(relations: Relations, own: OwnChange, reference: Known) -> Finding:
    modules = relations.modules(reference.sketch)
    found, _ = weigh_weights(relations.suspect, reference.sketch, own.change, modules)
    return _finding(own, answer(found), found, reference)


def _finding(
    own: OwnChange, found: Answer, estimate: Estimate, reference: Known | None = None
) -> Finding:
    said = {"there": _there, "opposite": _opposite, "unclear": _unclear, "not there": _not_there}
    how = said[found](own.known, reference, estimate)
    return Finding(
        own.known,
        _OUTCOMES[found],
        how,
        estimate.value,
        estimate.error,
        estimate.z,
        change=own.change,
        reference=reference,
    )


def _gravest(findings: Sequence[Finding]) -> Finding:
    return max(findings, key=lambda finding: _SEVERITY.index(finding.outcome))


def _same(one: Known, suspect: Sketch, relation: Relation) -> str:
    return (
        f"These are the weights of {one.name}, stored as {suspect.dtype}: "
        f"{relation.equal or 0:.1%} of {relation.values:,} sampled values agree."
    )


def _strange(one: Known, relation: Relation) -> str:
    if not relation.modules:
        return f"It has no module of the shapes of {one.name}."
    return (
        f"Its weights are not related to those of {one.name}: {relation.related:.0%} of "
        f"{relation.modules} modules are alike."
    )


def _descends(one: Known, relation: Relation) -> str:
    """Of a model that nothing else was before: every relative was made from its weights."""
    return (
        f"It was made from {one.name}, or from another version of it: {relation.related:.0%} of "
        f"{relation.modules} modules are alike, and its weights lie within {relation.distance:.1%}."
    )


def _near(one: Known, relation: Relation, ancestors: Ancestors) -> Finding:
    return Finding(
        one,
        "undecided",
        f"It lies within {relation.distance:.1%} of {one.name}, as every relative does, and the model "
        f"that {one.name} was made from is not registered, so it cannot be told whether this is one.",
        settle=_ancestor_names(one, ancestors),
    )


def _ancestor_names(one: Known, ancestors: Ancestors) -> str:
    names = " or ".join(ancestors.get(one.model or "", ()))
    which = f" ({names})" if names else ""
    return f"the very model that {one.name} was made from{which}"


def _there(one: Known, reference: Known | None, found: Estimate) -> str:
    beside = f", next to {reference.name}" if reference else ""
    return (
        f"It holds the change that makes {one.name}, at strength {found.value:.2f} ± "
        f"{max(found.error, 0.005):.2f}{beside} ({_sure(found)})."
    )


def _opposite(one: Known, reference: Known | None, found: Estimate) -> str:
    beside = f" next to {reference.name}" if reference else ""
    return f"It holds the opposite of {one.name}'s change{beside}, at {found.value:.2f} ({_sure(found)})."


def _unclear(one: Known, reference: Known | None, found: Estimate) -> str:
    return (
        f"It differs too much for its size from what is registered: a part of {one.name} below "
        f"{max(found.kept, 0) + 5 * found.kept_error:.2f} would not be seen."
    )


def _not_there(one: Known, reference: Known | None, found: Estimate) -> str:
    most = max(found.kept, 0.0) + 3 * found.kept_error
    return f"It holds less than {max(most, 0.01):.2f} of what makes {one.name}."


def _sure(found: Estimate) -> str:
    return f"{min(abs(found.z), 9999):,.0f} standard errors from nothing, {found.count:,} sampled values"
