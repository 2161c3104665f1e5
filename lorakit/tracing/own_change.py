"""What a known model changed, and which models a suspect can be compared with to find that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.grid import difference
from lorakit.tracing.known import Known
from lorakit.tracing.parents import likeliest_parents
from lorakit.tracing.relation import Relations

# Model -> the models that it may have been made from, as in the table of known models; none for a model
# that was trained from nothing, and no entry where that is not known.
Ancestors = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class OwnChange:
    """What a known model changed, and the model it changed, which is none for an adapter."""

    known: Known
    parent: Known | None
    change: Sketch


@dataclass(frozen=True)
class Family:
    """All models that are known, what may have been made from what, and how they stand to one another."""

    known: Sequence[Known]
    ancestors: Ancestors
    relations: Relations

    def may_come_from(self, one: Known) -> Sequence[str]:
        """The models of the table that `one` may have been made from."""
        return self.ancestors.get(one.model or "", ())

    def was_first(self, one: Known) -> bool:
        """Whether `one` is a model of the table that was made from none of its family."""
        model = one.model or ""
        return model in self.ancestors and not self.ancestors[model]

    def own_changes(self, one: Known) -> list[OwnChange]:
        """The changes that make `one` out of a model that it was certainly made from; at most one.

        That is the declared parent, else the likeliest of those that may be ancestors of its model.
        """
        if one.holds == "change":
            return [OwnChange(one, None, one.sketch)]
        declared = [
            base
            for base in self._bases()
            if base.content == one.parent != one.content
            and not self.relations.between(one.sketch, base.sketch).strangers
        ]
        parents = declared or likeliest_parents(one, self.claimed_parents(one), self.relations)
        changes = [(parent, difference(one.sketch, parent.sketch)) for parent in parents]
        return [OwnChange(one, parent, change) for parent, change in changes if change.values]

    def claimed_parents(self, one: Known) -> list[Known]:
        """The known models that are said to be one that `one` may have been made from."""
        models = self.may_come_from(one)
        return [base for base in self._bases() if base is not one and base.model in models]

    def references_for(self, one: Known) -> list[Known]:
        """The models that a checkpoint is compared with to find the adapter `one` in it.

        They must not hold it themselves: what it was made from, else its model's ancestors, else models
        that others were made from, else all that are not that model.
        """
        bases, allowed = self._bases(), self.may_come_from(one)
        parents = {other.parent for other in self.known}
        choices = (
            [base for base in bases if base.content == one.parent],
            [base for base in bases if base.model in allowed],
            [base for base in bases if base.content in parents and not allowed],
            [base for base in bases if not allowed and (not one.model or base.model != one.model)],
        )
        return next((choice for choice in choices if choice), [])

    def _bases(self) -> list[Known]:
        return [one for one in self.known if one.holds == "weights"]
