"""How many singular values are kept: a number, a share of the energy, or a bound on what is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite, sqrt

from lorakit.errors import BadUsage

# Sums of rounded squares may miss a share by this much; a share of 1 must not keep noise for it.
_SLACK = 1e-12


@dataclass(frozen=True)
class Rank:
    """The `count` largest, or all where there are fewer. Raises `BadUsage` below 1."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise BadUsage(f"A rank of {self.count} makes no sense; it is at least 1.")

    def __str__(self) -> str:
        return f"rank {self.count}"


@dataclass(frozen=True)
class Energy:
    """As few as hold `share` of the energy Σσ². Raises `BadUsage` outside (0, 1]."""

    share: float

    def __post_init__(self) -> None:
        _require(self.share, "energy")

    def __str__(self) -> str:
        return f"energy {self.share:g}"


@dataclass(frozen=True)
class SvRatio:
    """Those of at least the largest divided by `ratio`. Raises `BadUsage` below 1."""

    ratio: float

    def __post_init__(self) -> None:
        if not (isfinite(self.ratio) and self.ratio >= 1):
            raise BadUsage(
                f"A ratio of singular values of {self.ratio:g} makes no sense.",
                hint="It is a number of at least 1, such as 20.",
            )

    def __str__(self) -> str:
        return f"sv_ratio {self.ratio:g}"


@dataclass(frozen=True)
class Frobenius:
    """As few as hold `share` of the Frobenius norm √Σσ². Raises `BadUsage` outside (0, 1]."""

    share: float

    def __post_init__(self) -> None:
        _require(self.share, "Frobenius")

    def __str__(self) -> str:
        return f"frobenius {self.share:g}"


RankRule = Rank | Energy | SvRatio | Frobenius


def rank_rule(
    rank: int | RankRule | None = None,
    energy: float | None = None,
    sv_ratio: float | None = None,
    frobenius: float | None = None,
) -> RankRule | None:
    """The one rule that is given, None for none. Raises `BadUsage` for several, and for impossible ones."""
    found: list[RankRule] = []
    if rank is not None:
        found.append(Rank(rank) if isinstance(rank, int) else rank)
    if energy is not None:
        found.append(Energy(energy))
    if sv_ratio is not None:
        found.append(SvRatio(sv_ratio))
    if frobenius is not None:
        found.append(Frobenius(frobenius))
    if len(found) > 1:
        raise BadUsage(
            "One rule decides about the rank, not several.", hint="Leave the others out."
        )
    return found[0] if found else None


def rank_for(values: Sequence[float], rule: RankRule) -> int:
    """How many of the singular values `values` (the largest first) `rule` keeps: at least 1, at most all.

    The smallest number that fulfils the rule, counted from 1; for a change of nothing it is 1.
    """
    if not values:
        return 1
    if isinstance(rule, Rank):
        return min(rule.count, len(values))
    if isinstance(rule, SvRatio):
        least = values[0] / rule.ratio
        return max(1, sum(value >= least and value > 0 for value in values))
    share = rule.share if isinstance(rule, Energy) else rule.share**2
    wanted = share * fsum(value * value for value in values) * (1 - _SLACK)
    held = 0.0
    for number, value in enumerate(values, start=1):
        held += value * value
        if held >= wanted:
            return number
    return len(values)


def lost(values: Sequence[float], kept: int) -> float:
    """‖change - its best rank-`kept` approximation‖_F: the root of the squares left out."""
    return sqrt(fsum(value * value for value in values[kept:]))


def _require(share: float, what: str) -> None:
    if not 0 < share <= 1:
        raise BadUsage(
            f"An {what} of {share:g} makes no sense."
            if what == "energy"
            else f"A {what} share of {share:g} makes no sense.",
            hint="It is a share above 0 and up to 1, such as 0.99.",
        )
