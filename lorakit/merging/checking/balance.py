"""Strengths at which every entry contributes alike, and the whole is as strong as its strongest entry.

With sizes n_i = ‖Δi‖ at strength 1 and cosines C, w_i = c / n_i gives every entry the size c, and their sum
the energy c² Σ C_ij; so c = max_i |w_i| n_i / √(Σ C_ij). Two alike in size and with nothing in common come to
0.71 of their size, two that are the same to 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import copysign, sqrt

from lorakit.merging.checking.grouping import Group
from lorakit.strengths import MAX_STRENGTH, Strength

# Where entries cancel out nearly all of one another, no strengths make the sum as strong as one of them.
CANCELLED = 0.05


@dataclass(frozen=True)
class Balance:
    """`strengths` by entry, rounded for people; `size` is ‖Σ w Δ‖ at them, `wanted` what was aimed at."""

    strengths: tuple[float, ...]
    size: float
    wanted: float


def balanced(whole: Group, strengths: Sequence[float]) -> Balance | None:
    """Balance the entries of `whole`, keeping their signs; those that change nothing keep their strength.

    None where there are not two to balance, they cancel out, or a strength would be too large.
    """
    found = balanced_or_why(whole, strengths)
    return None if isinstance(found, str) else found


def balanced_or_why(whole: Group, strengths: Sequence[float]) -> Balance | str:
    """The same, and why not in a sentence."""
    sizes = [whole.size(at, w) for at, w in enumerate(strengths)]
    among = [at for at, size in enumerate(sizes) if size]
    if len(among) < 2:
        return "There is nothing to balance: it takes two entries that change something."
    wanted = max(sizes)
    even = [
        copysign(1 / whole.size(at, 1.0), w) if at in among else 0.0
        for at, w in enumerate(strengths)
    ]
    together = whole.sum_size(even)
    if together < CANCELLED * sqrt(len(among)):
        return "They cannot be balanced: at equal sizes they cancel one another out."
    found = [
        rounded(wanted / together * one) if at in among else strengths[at]
        for at, one in enumerate(even)
    ]
    if max(map(abs, found)) > MAX_STRENGTH:
        return f"They cannot be balanced: that takes a strength beyond {MAX_STRENGTH:g}."
    return Balance(tuple(found), whole.sum_size(found), wanted)


def rounded(strength: float) -> float:
    """To two digits behind the point, or to two digits where it is small."""
    close = float(f"{strength:.7g}")
    return round(close, 2) if abs(close) >= 0.1 else float(f"{close:.2g}")


def with_base(strength: Strength, base: float) -> Strength:
    """The strength with another base and the same refinements."""
    return replace(strength, base=base)
