"""How two entries stand to one another, as a whole and where they pull apart or together.

A cosine is held against two errors: that of strangers with the same singular values, in random directions on
one side at least (`Measured.chance`), and that of changes whose modules do not agree on the sign. Nothing is
said of a cosine that is small in itself, or within either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.grouping import Group, group

Relation = Literal["same", "scaled", "relative", "together", "apart", "independent", "nothing"]

# From here on two changes are one, stored otherwise; 8-bit factors still point this much the same way.
_SAME = 0.998
_SAME_SIZE = 0.01
_RELATED = 0.3
# A cosine below this makes a sum of two equal changes no more than 2.5 % smaller or larger.
LEAST = 0.05
_CHANCE = 4.0
_TURNS = 2.0


@dataclass(frozen=True)
class Meeting:
    """Where two entries pull against one another (`apart`), or the same way.

    `where` is "kinds" or "blocks", `names` which of them. `cosine` is that of the changes at the given
    strengths, so a negative strength turns it; `chance` four standard errors of strangers. `effect` is how
    much larger the sum of both is there than if they had nothing in common, 0.1 for a tenth.
    """

    one: int
    other: int
    where: Literal["kinds", "blocks"]
    names: tuple[str, ...]
    cosine: float
    chance: float
    effect: float

    @property
    def apart(self) -> bool:
        """Whether they fight there."""
        return self.cosine < 0


def relation(comparison: Comparison, one: int, other: int, *, given: bool = False) -> Relation:
    """What two entries are to one another, over all modules, at strength 1; or at the `given` strengths,
    of which a negative one turns `together` into `apart`."""
    whole = comparison.whole
    cosine = whole.cosine(one, other)
    if cosine is None:
        return "nothing"
    if abs(cosine) >= _SAME:
        ratio = whole.size(other, 1.0) / whole.size(one, 1.0)
        return "same" if cosine > 0 and abs(ratio - 1) <= _SAME_SIZE else "scaled"
    if cosine >= _RELATED:
        return "relative"
    if not _stands_out(whole, one, other):
        return "independent"
    opposed = given and comparison.strengths[one] * comparison.strengths[other] < 0
    return "together" if (cosine > 0) != opposed else "apart"


def meetings(comparison: Comparison) -> list[Meeting]:
    """The kinds and blocks where two entries clearly fight or double up, the strongest effect first.

    Blocks next to one another are taken together. Entries that are the same change, or relatives, do so
    everywhere and are left out.
    """
    found: list[Meeting] = []
    for pair in comparison.pairs:
        one, other = pair.one, pair.other
        if relation(comparison, one, other) in ("same", "scaled", "relative", "nothing"):
            continue
        for kind in comparison.kinds:
            if _stands_out(kind, one, other):
                found.append(_meeting(comparison, kind, one, other, "kinds", (kind.name,)))
        for run in _runs(comparison, one, other):
            together = _joined(comparison, run)
            found.append(_meeting(comparison, together, one, other, "blocks", tuple(run)))
    return sorted(found, key=lambda one: -abs(one.effect))


def _runs(comparison: Comparison, one: int, other: int) -> list[list[str]]:
    """Blocks that stand out, with one sign, next to one another."""
    signs = []
    for place, block in enumerate(comparison.blocks):
        if _stands_out(block, one, other):
            cosine = block.cosine(one, other) or 0.0
            signs.append((place, int(block.name), cosine > 0))
    keyed = groupby(enumerate(signs), key=lambda item: (item[1][1] - item[0], item[1][2]))
    return [[str(number) for _, (_, number, _) in run] for _, run in keyed]


def _joined(comparison: Comparison, names: Sequence[str]) -> Group:
    if len(names) == 1:
        return next(block for block in comparison.blocks if block.name == names[0])
    wanted = tuple(f"blocks.{name}." for name in names)
    chosen = [at for at, m in enumerate(comparison.measured.names) if m.startswith(wanted)]
    norms = comparison.ground.norms if comparison.ground else None
    return group(
        f"{names[0]}-{names[-1]}",
        comparison.measured,
        chosen,
        norms,
        lambda module: module.startswith(wanted),
    )


def _stands_out(where: Group, one: int, other: int) -> bool:
    cosine = where.cosine(one, other)
    chance, turns = where.by_chance(one, other), where.by_turns(one, other)
    if cosine is None or chance is None or turns is None:
        return False
    return abs(cosine) > max(LEAST, _CHANCE * chance, _TURNS * turns)


def _meeting(
    comparison: Comparison,
    where: Group,
    one: int,
    other: int,
    by: Literal["kinds", "blocks"],
    names: tuple[str, ...],
) -> Meeting:
    strengths = [w if at in (one, other) else 0.0 for at, w in enumerate(comparison.strengths)]
    sign = -1.0 if strengths[one] * strengths[other] < 0 else 1.0
    apart = where.apart_size(strengths)
    return Meeting(
        one,
        other,
        by,
        names,
        sign * (where.cosine(one, other) or 0.0),
        _CHANCE * (where.by_chance(one, other) or 0.0),
        where.sum_size(strengths) / apart - 1 if apart else 0.0,
    )
