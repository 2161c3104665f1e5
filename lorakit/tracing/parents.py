"""Which of several models another one was made from, by weights alone.

A name proves nothing: a person may register every merge as Anima. What was made from a model by changing
some modules still has the others exactly as they were, which rules out most. But siblings share some of
those, too, and a merge of the two shares all, and lies nearer. So the one that has most in common with the
model is taken, unless it has that in common because it holds a part of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.comparison import Gap, gap_between
from lorakit.tracing.grid import difference
from lorakit.tracing.known import Known
from lorakit.tracing.relation import Relations
from lorakit.tracing.weighing import UNEVEN, weigh_weights


def likeliest_parents(made: Known, possible: Sequence[Known], relations: Relations) -> list[Known]:
    """The one of `possible` that `made` was made from; none where nothing proves it."""
    to = {id(base): relations.between(made.sketch, base.sketch) for base in possible}
    proven = [base for base in possible if to[id(base)].direct]
    if len(proven) < 2:
        return proven
    proven.sort(key=lambda base: (-to[id(base)].untouched, to[id(base)].distance))
    parent, *others = proven
    for other in others:
        if _holds_part(parent.sketch, other.sketch, made.sketch, relations):
            parent = other
    return [parent]


def _holds_part(one: Sketch, start: Sketch, made: Sketch, relations: Relations) -> bool:
    """Whether `one` is `start` with a part of what makes `made`, rather than what both were made from.

    It is where the way from `start` to `one` goes on to `made`. It is also where some modules are those of
    `made`, what else separates it from `start` has nothing to do with `made`, and `start` is not the one
    that holds a part.
    """
    if _on_the_way(relations.gap(one, start), difference(made, one)):
        return True
    taken = relations.between(made, one).unchanged - relations.between(made, start).unchanged
    if not taken:
        return False
    others = relations.between(one, start).alike - taken
    there = gap_between(one, start, others).next_to(difference(made, start)).evidence
    if weigh_weights(there).answer != "not there":
        return False
    return not _merged(gap_between(start, one, others), difference(made, one))


def _on_the_way(gap: Gap, change: Sketch) -> bool:
    return weigh_weights(gap.next_to(change).evidence).answer == "there"


def _merged(gap: Gap, change: Sketch) -> bool:
    """Whether the change is in the gap at one strength."""
    evidence = gap.next_to(change).evidence
    found = weigh_weights(evidence)
    return found.answer == "there" and evidence.unevenness(found.estimate.value) < UNEVEN
