"""The strength of a known change from every weight, not from samples: for what is small or noisy.

The same estimate as in `coefficient`, of two billion values in place of a third of a million, so its error
is up to eighty times smaller. Only sums over groups of rows are kept, so a pass over the files is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch

from lorakit.errors import BadFile
from lorakit.sketches.adapters import WeightOf
from lorakit.tracing.arrays import Floats, Integers
from lorakit.tracing.coefficient import Evidence
from lorakit.tracing.comparison import own_scale
from lorakit.tracing.products import ALL, LEVELS, Products, level_bounds, levels_of, total
from lorakit.tracing.rounding import step_exponent

# A module's rows are summed in so many groups.
_GROUPS = 16


def deep_evidence(
    suspect: WeightOf,
    reference: WeightOf,
    change_of: WeightOf,
    modules: Sequence[str],
    beside: Sequence[tuple[float, WeightOf]] = (),
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Evidence | None:
    """What all weights tell of a change that may lie between two models.

    The three give weights and changes, (out, in), by canonical module name; a module that one of them
    does not have, or has in another shape, is passed over. None when all are. `beside` are other changes
    that lie there, too, with their coefficients; they are taken away.
    """
    found: dict[str, np.ndarray] = {}
    for done, name in enumerate(modules, start=1):
        try:
            before, change, after = reference(name), change_of(name), suspect(name)
        except (LookupError, RuntimeError, ValueError, BadFile):
            continue
        if before.shape == change.shape == after.shape:
            for value, other in beside:
                with suppress(LookupError, RuntimeError, ValueError, BadFile):
                    after = after - value * other(name)
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


def _sums(after: torch.Tensor, change: torch.Tensor, before: torch.Tensor) -> np.ndarray:
    """Sums of yd, dd, yy and the count of values by level, cumulative, (4, levels, groups)."""
    dots = torch.tensordot(after, before), torch.tensordot(before, before)
    scale = float(own_scale(*(np.array([float(dot)]) for dot in dots))[0])
    bounds = level_bounds(np.array([float(change.square().mean(dtype=torch.float64)) ** 0.5]))
    groups = zip(*(x.chunk(_GROUPS) for x in (after / scale - before, change, before)), strict=True)
    sums = [_by_level(_flat(y), _flat(d), _flat(w), bounds) for y, d, w in groups]
    return np.stack(sums, axis=2)


def _by_level(y: Floats, d: Floats, weights: Floats, bounds: Integers) -> np.ndarray:
    levels = levels_of(step_exponent(weights, "BF16"), bounds)
    found = [total(x, levels, LEVELS) for x in (y * d, d * d, y * y, None)]
    return np.cumsum(np.array(found), axis=1)


def _flat(matrix: torch.Tensor) -> Floats:
    values: Floats = matrix.numpy().ravel().astype(np.float64)
    return values
