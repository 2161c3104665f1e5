"""Votes counted, and what so many votes can tell.

Each pair counts as one judgement, independent of the others; pairs that found both the same say nothing
of which is better and are left out of the share and of the test, as a sign test does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, sqrt

_Z95 = 1.959964
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Tally:
    """How often each side was chosen, how often neither, of how many pairs; and how often the one
    shown as A, for people tend to one place."""

    first: int
    second: int
    same: int
    pairs: int
    as_a: int

    @classmethod
    def of(cls, votes: Mapping[int, str], second_is_a: Sequence[bool]) -> Tally:
        """Count `votes` ("first", "second" or "same" by number of the pair, from 1)."""
        given = list(votes.values())
        as_a = sum(
            choice != "same" and (choice == "second") == second_is_a[pair - 1]
            for pair, choice in votes.items()
        )
        counts = (given.count("first"), given.count("second"), given.count("same"))
        return cls(*counts, len(second_is_a), as_a)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Several comparisons of the same two sides, in the same order, as one."""
        found = list(tallies)
        return cls(
            first=sum(one.first for one in found),
            second=sum(one.second for one in found),
            same=sum(one.same for one in found),
            pairs=sum(one.pairs for one in found),
            as_a=sum(one.as_a for one in found),
        )

    def turned(self) -> Tally:
        """With the sides the other way round."""
        return Tally(self.second, self.first, self.same, self.pairs, self.as_a)

    @property
    def decided(self) -> int:
        """Pairs of which one picture was found better."""
        return self.first + self.second

    @property
    def voted(self) -> int:
        """Pairs with a vote."""
        return self.decided + self.same

    @property
    def p_value(self) -> float:
        """How likely a split at least this uneven is when nobody can tell the sides apart."""
        return sign_test(self.first, self.second)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share of decided pairs in which the second side is chosen."""
        return wilson(self.second, self.decided)

    def verdict(self, first: str, second: str) -> str:
        """What the votes say, in a sentence."""
        if not self.decided:
            return "No pair has been decided yet." if not self.same else "No difference was found."
        ahead, behind = (second, first) if self.second >= self.first else (first, second)
        if self.p_value <= SIGNIFICANT:
            return f"{ahead} is preferred to {behind} (p = {self.p_value:.2g})."
        return f"So many votes cannot tell the two apart (p = {self.p_value:.2g})."


def sign_test(first: int, second: int) -> float:
    """The two-sided exact binomial test of an even chance: the probability of a split as uneven."""
    count, less = first + second, min(first, second)
    tail = sum(comb(count, k) for k in range(less + 1))
    return min(1.0, 2 * tail / int(2**count))


def wilson(chosen: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) where nothing was counted.

    Wilson (1927), as given in Brown, Cai and DasGupta, Interval estimation for a binomial proportion.
    """
    if not count:
        return 0.0, 1.0
    share, z2 = chosen / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At the ends both terms are equal, but for rounding.
    low = middle - half if chosen else 0.0
    return low, middle + half if chosen < count else 1.0
