"""Whether a change is in a suspect as a whole, or the two merely share directions.

LoRAs that were trained on the same base from the same first values, by the same trainer with the same seed,
have something in common without either holding the other: in the shipped demo, two styles have a cosine of
0.17. A merge brings every module of a change at one strength (or one for each block, or for each layer),
whereas what is shared by training is more here and less there. So what modules differ by tells the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lorakit.tracing.arrays import Flags, Floats, Integers
from lorakit.tracing.products import Products, total

_BLOCK = re.compile(r"(blocks\.\d+)\.")
_CERTAIN = 3.0


def unevenness(products: Products, level: int) -> float:
    """How far the coefficients of modules truly differ, relative to their mean; 0 where that is not sure.

    Differences between blocks, or between layers, do not count: strengths may be set so. Spread beyond
    errors after DerSimonian and Laird (Controlled Clinical Trials 7, 1986), at three of its own errors.
    """
    modules = len(products.names)
    yd, dd = products.yd[level], products.dd[level]
    known = total(dd, products.module, modules)
    used = known > 0
    if np.count_nonzero(used) < 2:
        return 0.0
    own = total(yd, products.module, modules)[used] / known[used]
    variances = _variances(products, level, used, own, known[used])
    weights = 1 / variances
    mean = float((weights * own).sum() / weights.sum())
    names = [name for name, there in zip(products.names, used, strict=True) if there]
    groupings = ([0] * len(names), _numbered(_blocks(names)), _numbered(_layers(names)))
    spread = min(_spread(own, weights, np.array(groups)) for groups in groupings)
    return spread / abs(mean) if mean else 0.0


def _variances(products: Products, level: int, used: Flags, own: Floats, known: Floats) -> Floats:
    """The variance of each module's coefficient: from sums over runs, which may move together."""
    every = np.zeros(len(products.names))
    every[used] = own
    left = products.yd[level] - every[products.module] * products.dd[level]
    by_run = total(left**2, products.module, len(products.names))[used]
    # One over a variance that was estimated from few runs is too large on average.
    runs = total(None, products.module, len(products.names))[used]
    by_run *= (runs + 3) / np.maximum(runs - 1, 1)
    usual = float(by_run.sum() / (known**2).sum())
    # A module with few runs may look more certain than it is.
    found: Floats = np.maximum(by_run / known**2, 0.1 * usual) + 1e-12
    return found


def _spread(own: Floats, weights: Floats, groups: Integers) -> float:
    """What members of a group truly differ by, as a standard deviation."""
    count = int(groups.max()) + 1
    sums = total(weights, groups, count)
    means = total(weights * own, groups, count) / sums
    squares = float((weights * (own - means[groups]) ** 2).sum())
    freedom = len(own) - count
    if freedom < 1:
        return np.inf
    scale = float((sums - total(weights**2, groups, count) / sums).sum())
    excess = squares - freedom - _CERTAIN * np.sqrt(2 * freedom)
    return float(np.sqrt(max(excess, 0.0) / scale)) if scale else 0.0


def _blocks(names: Sequence[str]) -> list[str]:
    return [found[1] if (found := _BLOCK.search(name)) else name for name in names]


def _layers(names: Sequence[str]) -> list[str]:
    return [_BLOCK.sub("", name) for name in names]


def _numbered(words: Sequence[str]) -> list[int]:
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return [numbers[word] for word in words]
