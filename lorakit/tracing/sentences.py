"""What was seen of a known model, in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from lorakit.counting import counted_rows
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import Estimate
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.relation import Relation
from lorakit.tracing.weighing import Weighed


def same(one: Known, suspect: Sketch, relation: Relation) -> str:
    """The suspect has the model's weights."""
    return (
        f"These are the weights of {one.name}, stored as {suspect.dtype}: "
        f"{relation.equal or 0:.1%} of {relation.values:,} sampled values agree."
    )


def strange(one: Known, relation: Relation) -> str:
    """The suspect is no relative."""
    if not relation.modules:
        return f"It has no module of the shapes of {one.name}."
    return (
        f"Its weights are not related to those of {one.name}: {relation.related:.0%} of "
        f"{_are_alike(relation.modules)}."
    )


def descends(one: Known, relation: Relation) -> str:
    """Of a model that nothing else was before: every relative was made from its weights."""
    return (
        f"It was made from {one.name}, or from another version of it: {relation.related:.0%} of "
        f"{_are_alike(relation.modules)}, and its weights lie within {relation.distance:.1%}."
    )


def _are_alike(modules: int) -> str:
    return f"{counted_rows(modules, 'module')} {'is' if modules == 1 else 'are'} alike"


def near(one: Known, relation: Relation, claimed: Sequence[Known]) -> str:
    """A relative, and nothing tells what of. `claimed` are models that it may have been made from."""
    return (
        f"It lies within {relation.distance:.1%} of {one.name}, as every relative does, and "
        f"{_no_parent(one, claimed)}, so it cannot be told whether this is one."
    )


def unseen(one: Known, claimed: Sequence[Known]) -> str:
    """An adapter that nothing points to, of a model whose own change is not known."""
    return f"Nothing points to {one.name}, but {_no_parent(one, claimed)}, so its own change is not known."


def parent_of(one: Known, ancestors: Sequence[str], claimed: Sequence[Known]) -> str:
    """What would have to be registered to know a model's own change."""
    which = f" ({' or '.join(ancestors)})" if ancestors else ""
    found = f"the very model that {one.name} was made from{which}"
    if not claimed:
        return found
    return f"{one.name} again with `--on {claimed[0].name}`, if that is what it was made from, else {found}"


def _no_parent(one: Known, claimed: Sequence[Known]) -> str:
    if not claimed:
        return f"the model that {one.name} was made from is not registered"
    names = " or ".join(base.name for base in claimed)
    return f"nothing shows that {one.name} was made from {names} as registered here"


def held(finding: Finding) -> str:
    """The model's own change is there, or a part of it."""
    known, reference = finding.known, finding.reference
    where = f" in {finding.where}" if finding.where else ""
    what = known.name if known.holds == "change" else f"the change that makes {known.name}"
    # An adapter is compared with nothing but the change itself.
    beside = f", next to {reference.name}" if reference else ""
    return (
        f"It holds {what}{where}, at strength {finding.strength or 0:.3f} ± "
        f"{max(finding.error or 0, 0.001):.3f}{beside} ({_sure(finding.z or 0, finding.count)})."
    )


def weighed(one: Known, reference: Known | None, found: Weighed) -> str:
    """What came of looking for the model's own change where it is not there for certain."""
    said = {"opposite": _opposite, "unclear": _unclear, "alike": _alike}
    return said.get(found.answer, _not_there)(one, reference, found)


def sure(found: Estimate) -> str:
    """How sure an estimate is."""
    return _sure(found.z, found.count)


def _sure(z: float, count: int) -> str:
    return f"{min(abs(z), 9999):,.0f} standard errors from nothing, {count:,} sampled values"


def _opposite(one: Known, reference: Known | None, weighed: Weighed) -> str:
    beside = f" next to {reference.name}" if reference else ""
    found = weighed.estimate
    return f"It holds the opposite of {one.name}'s change{beside}, at {found.value:.2f} ({sure(found)})."


def _unclear(one: Known, reference: Known | None, weighed: Weighed) -> str:
    found = weighed.estimate
    if not found.count:
        return (
            f"In no layer that {one.name} changed is it like {reference.name if reference else one.name}, "
            "though others are alike: its weights may have been put in another order."
        )
    least = max(found.kept, 0) + 5 * found.kept_error
    unseen = f"a part of {one.name} below {least:.2f}" if least < 1 else f"all of {one.name}"
    return f"It differs too much for its size from what is registered: {unseen} would not be seen."


def _alike(one: Known, reference: Known | None, weighed: Weighed) -> str:
    found = weighed.estimate
    return (
        f"It shares some of its direction with {one.name} ({found.share:.2f}; {sure(found)}), more in some "
        "modules and less in others, as models do that were trained alike. A merge brings all alike."
    )


def _not_there(one: Known, reference: Known | None, weighed: Weighed) -> str:
    found = weighed.estimate
    most = max(found.kept, 0.0) + 3 * found.kept_error
    what = one.name if one.holds == "change" else f"what makes {one.name}"
    return f"It holds less than {max(most, 0.01):.2f} of {what}."
