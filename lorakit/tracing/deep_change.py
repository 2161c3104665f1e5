"""The strength of a known change from whole rows, not from sampled values: for what is small or noisy.

The same estimate as in `coefficient`, of a quarter of a billion values in place of a third of a million, so
its error is up to thirty times smaller. Only sums over groups of rows are kept, so one pass is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from lorakit.errors import BadFile
from lorakit.sketches.adapters import WeightOf
from lorakit.tracing.arrays import Floats, Integers
from lorakit.tracing.coefficient import Evidence
from lorakit.tracing.comparison import own_scale
from lorakit.tracing.products import ALL, LEVELS, Products, level_bounds, levels_of, total
from lorakit.tracing.rounding import step_exponent
from lorakit.tracing.weights import BANDS


def deep_evidence(
    suspect: WeightOf,
    reference: WeightOf,
    change_of: WeightOf,
    modules: Sequence[str],
    beside: Sequence[tuple[float, WeightOf]] = (),
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Evidence | None:
    """What matrices, or the same rows of each, tell of a change that may lie between two models.

    The three give weights and changes, (rows, in), by canonical module name; a module that one of them
    does not have, or has in another shape, is passed over. None when all are. `beside` are other changes
    that lie there, too, with their coefficients; they are taken away.
    """
    found: dict[str, np.ndarray] = {}
    for done, name in enumerate(modules, start=1):
        try:
            before, change, after = (x(name).numpy() for x in (reference, change_of, suspect))
        except (LookupError, RuntimeError, ValueError, BadFile):
            continue
        if before.shape == change.shape == after.shape:
            for value, other in beside:
                with suppress(LookupError, RuntimeError, ValueError, BadFile):
                    after = after - value * other(name).numpy()
            found[name] = _sums(after, change, before)
        on_progress(done, len(modules), name)
    if not found:
        return None
    by_level = _products(found)
    plain = Products(
        by_level.names,
        by_level.module,
        *(getattr(by_level, field)[ALL:] for field in ("yd", "dd", "yy", "count")),
    )
    return Evidence(plain, lambda: by_level)


def _products(found: dict[str, np.ndarray]) -> Products:
    """From sums (4, levels, groups) of each module to those of all."""
    groups = [sums.shape[2] for sums in found.values()]
    sums = np.concatenate(list(found.values()), axis=2)
    return Products(tuple(found), np.repeat(np.arange(len(groups)), groups), *sums)


def _sums(after: np.ndarray, change: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Sums of yd, dd, yy and the count of values by level, cumulative, (4, levels, groups).

    The arithmetic is NumPy's: PyTorch would divide every small step among threads.
    """
    dots = [(x * before).sum(dtype=np.float64, keepdims=True).ravel() for x in (after, before)]
    scale = own_scale(*dots)[0]
    size = np.sqrt((change * change).mean(dtype=np.float64, keepdims=True)).ravel()
    bounds = level_bounds(size)
    groups = zip(*(np.array_split(x, BANDS) for x in (after, change, before)), strict=True)
    sums = [
        _by_level(_flat(a) / scale - _flat(b), _flat(d), _flat(b), bounds)
        for a, d, b in groups
        if len(a)
    ]
    return np.stack(sums, axis=2)


def _by_level(y: Floats, d: Floats, weights: Floats, bounds: Integers) -> np.ndarray:
    levels = levels_of(step_exponent(weights, "BF16"), bounds)
    found = [total(x, levels, LEVELS) for x in (y * d, d * d, y * y, None)]
    return np.cumsum(np.array(found), axis=1)


def _flat(matrix: np.ndarray) -> Floats:
    return np.asarray(matrix.ravel(), np.float64)
