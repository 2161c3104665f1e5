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
    much larger the sum of both is there than if they had nothing in common, 0.1 for a tenth. `place` says
    where in words.
    """

    one: int
    other: int
    where: Literal["kinds", "blocks"]
    names: tuple[str, ...]
    cosine: float
    chance: float
    effect: float
    place: str

    @property
    def apart(self) -> bool:
        """Whether they fight there."""
        return self.cosine < 0


def relation(comparison: Comparison, one: int, other: int, *, given: bool = False) -> Relation:
    """What two entries are to one another, over all modules, at strength 1; or at the `given` strengths,
    which if of opposite signs turn `together` into `apart`, and back."""
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
    opposed = given and comparison.opposed(one, other)
    return "together" if (cosine > 0) != opposed else "apart"


@dataclass(frozen=True)
class Place:
    """Kinds or blocks that stand out for two entries, whatever the strengths; `group` is what they are
    together."""

    one: int
    other: int
    where: Literal["kinds", "blocks"]
    names: tuple[str, ...]
    group: Group

    @property
    def words(self) -> str:
        """As a person says it: `blocks 10-14`, or `mlp`."""
        if self.where == "kinds":
            return self.names[0]
        if len(self.names) == 1:
            return f"block {self.names[0]}"
        return f"blocks {self.names[0]}-{self.names[-1]}"

    def cosine(self, strengths: Sequence[float]) -> float:
        """The cosine there at the strengths, of which a negative one turns it."""
        sign = -1.0 if strengths[self.one] * strengths[self.other] < 0 else 1.0
        return sign * (self.group.cosine(self.one, self.other) or 0.0)

    @property
    def chance(self) -> float:
        """Four standard errors of strangers."""
        return _CHANCE * (self.group.by_chance(self.one, self.other) or 0.0)

    def effect(self, strengths: Sequence[float]) -> float:
        """How much larger the sum of both is there than if they had nothing in common."""
        own = [w if at in (self.one, self.other) else 0.0 for at, w in enumerate(strengths)]
        apart = self.group.apart_size(own)
        return self.group.sum_size(own) / apart - 1 if apart else 0.0


def meetings(comparison: Comparison) -> list[Meeting]:
    """The kinds and blocks where two entries clearly fight or double up, the strongest effect first."""
    strengths = comparison.strengths
    found = [
        Meeting(
            place.one,
            place.other,
            place.where,
            place.names,
            place.cosine(strengths),
            place.chance,
            place.effect(strengths),
            place.words,
        )
        for place in places(comparison)
    ]
    return sorted(found, key=lambda one: -abs(one.effect))


def places(comparison: Comparison) -> list[Place]:
    """The kinds and blocks where two entries stand out, pair by pair.

    Blocks next to one another are taken together. Entries that are the same change, or relatives, do so
    everywhere and are left out.
    """
    found: list[Place] = []
    for pair in comparison.pairs:
        one, other = pair.one, pair.other
        if relation(comparison, one, other) in ("same", "scaled", "relative", "nothing"):
            continue
        for kind in comparison.kinds:
            if _stands_out(kind, one, other):
                found.append(Place(one, other, "kinds", (kind.name,), kind))
        for run in _runs(comparison, one, other):
            together = _joined(comparison, run)
            found.append(Place(one, other, "blocks", tuple(run), together))
    return found


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
