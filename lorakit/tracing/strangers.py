"""Adapters that have nothing in common, told from others in a fraction of the time of a comparison."""

from __future__ import annotations

import math

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.similar import LEAST

# A little below what `compare` takes for a module that is alike, and for an adapter that has a part in
# common, since sums in float32 come out a little otherwise.
_ALIKE, _IN_COMMON = 0.29, 0.97 * LEAST


def surely_strangers(this: Sketch, other: Sketch) -> bool:
    """Whether `compare` is certain to call them unrelated; False where only it can tell.

    Where no module points the same way in both, none was copied, and the cosine over the modules that both
    have, a weighted mean of theirs, is as small; what is left of being related is the cosine over all.
    """
    if this.blocks != other.blocks or this.undecided or other.undecided:
        return False
    product = mine = theirs = 0.0
    for name, one in this.values.items():
        square = float(one @ one)
        mine += square
        two = other.values.get(name)
        if two is not None and len(two) == len(one):
            dot = float(one @ two)
            product += dot
            if dot > 0 and dot >= _ALIKE * math.sqrt(square * float(two @ two)):
                return False
    for two in other.values.values():
        theirs += float(two @ two)
    return abs(product) <= _IN_COMMON * math.sqrt(mine * theirs)
