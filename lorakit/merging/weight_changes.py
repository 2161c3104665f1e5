"""What all entries do to one weight: thin factors where they are exact, matrices where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lorakit.errors import BadFile
from lorakit.fusion.patches import Patch, entry_delta
from lorakit.merging.factors import Factors, exact_factors, join
from lorakit.merging.gathering import Term

# The least rank that is given to a change without thin factors. Those that state one (DoRA, T-LoRA, LoKr)
# have a true rank of at least twice of it.
_UNSTATED = 64


@dataclass(frozen=True)
class Changes:
    """The terms of one weight; `thin` has the factors of those that have exact ones, strength within.

    `weight` is the base's (out, in) in float32, where there is one; everything lies on one device.
    """

    terms: Sequence[Term]
    weight: torch.Tensor | None
    thin: Mapping[int, Factors]
    device: torch.device

    @classmethod
    def of(
        cls, terms: Sequence[Term], weight: torch.Tensor | None, device: torch.device
    ) -> Changes:
        """The changes of `terms`, on `device`."""
        weight = None if weight is None else weight.float()
        thin: dict[int, Factors] = {}
        for place, term in enumerate(terms):
            found = exact_factors(term.module, term.strength, weight=weight)
            if found is not None:
                for side in (found.up, found.down):
                    require_finite(side, [term])
                thin[place] = found.to(torch.float32, device)
        return cls(terms, None if weight is None else weight.to(device), thin, device)

    @property
    def everything(self) -> Sequence[int]:
        """The places of all terms."""
        return range(len(self.terms))

    def by_entry(self) -> list[list[int]]:
        """The places of the terms of each entry."""
        entries = sorted({term.entry for term in self.terms})
        return [
            [place for place in self.everything if self.terms[place].entry == e] for e in entries
        ]

    def rank(self, places: Sequence[int]) -> int:
        """The sum of the ranks of the terms at `places`; of one in full, the rank it is given."""
        return sum(
            self.thin[place].rank
            if place in self.thin
            else max(2 * (self.terms[place].rank or 0), _UNSTATED)
            for place in places
        )

    def joined(self, places: Sequence[int]) -> Factors | None:
        """The sum of the terms at `places` as factors, None where one of them has none."""
        found = self.apart(places)
        return join(found) if found else None

    def apart(self, places: Sequence[int]) -> list[Factors]:
        """The factors that `joined` joins, those with the same down factor as one; none if it is None."""
        found = [self.thin[place] for place in places if place in self.thin]
        return _without_doubles(found) if len(found) == len(places) else []

    def matrix(self, places: Sequence[int]) -> torch.Tensor:
        """The sum of the terms at `places` as a matrix in float32."""
        thin = [self.thin[place] for place in places if place in self.thin]
        total = join(thin).dense() if thin else None
        for place in places:
            if place not in self.thin:
                change = self._delta(self.terms[place]) * self.terms[place].strength
                total = change if total is None else total.add_(change)
        assert total is not None, "there is at least one place"
        require_finite(total, [self.terms[place] for place in places])
        return total

    def _delta(self, term: Term) -> torch.Tensor:
        if self.weight is not None:
            return entry_delta(Patch(term.module, term.strength, term.name), self.weight)
        like = torch.zeros((), dtype=torch.float32, device=self.device)
        return term.module.delta(like).flatten(1)


def require_finite(values: torch.Tensor, terms: Sequence[Term]) -> None:
    """Raise `BadFile` naming the first of `terms` where `values`, which came of them, are not all finite."""
    # PyTorch neither adds up 8-bit floats nor tells which of them are finite.
    wide = values.float() if values.itemsize == 1 else values
    # What is not finite stays so in a sum, which takes a tenth of the time; that of finite numbers may overflow.
    if not bool(wide.sum().isfinite()) and not bool(wide.isfinite().all()):
        raise BadFile(
            f"What {terms[0].name} changes is not finite at a strength of {terms[0].strength:g}.",
            hint="The file is damaged or its numbers have overflowed; leave it out.",
        )


def _without_doubles(parts: Sequence[Factors]) -> list[Factors]:
    """Changes with the same down factor as one, whose up factors add up: opposite ones vanish."""
    kept: list[Factors] = []
    for part in parts:
        for place, other in enumerate(kept):
            if _same(other.down, part.down):
                kept[place] = Factors(other.up + part.up, other.down)
                break
        else:
            kept.append(part)
    return kept


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    # Most differ in the first row, and the rest need not be read.
    return one.shape == other.shape and torch.equal(one[:1], other[:1]) and torch.equal(one, other)
