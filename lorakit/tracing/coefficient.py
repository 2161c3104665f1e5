"""How much of a known change is in an unknown one: one coefficient, with an honest error.

Least squares with a weight for every module, which is one over the mean square of what stays
unexplained there. The error does not trust the values to be independent: a style LoRA changes whole rows
together, so it is taken from sums over runs, and from sums over modules, whichever is larger (Liang and
Zeger, Biometrika 73, 1986: the cluster-robust variance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorakit.tracing.arrays import Flags, Floats, Integers
from lorakit.tracing.grid import Grid
from lorakit.tracing.rounding import step

_ROUNDS = 4
# What a module may stay unexplained at best, relative to the change in it: keeps weights finite.
_LEAST_UNEXPLAINED = 1e-6
# A change counts as finer than rounding where a step of bfloat16 is at most this part of it.
_FINE = 0.5
_FEWEST_FINE = 256
_WEAKEST = 0.05


@dataclass(frozen=True)
class Estimate:
    """`value` of the coefficient, its standard `error`, and what it rests on.

    `kept` and `kept_error` are the same among all values, where rounding to the stored format may have
    taken a part away: how much of the change is there, whatever the strength was that put it there.
    `share` is the cosine between the two changes, in the same weighting, `count` the number of values.
    """

    value: float
    error: float
    kept: float
    kept_error: float
    share: float
    count: int

    @property
    def z(self) -> float:
        """How many standard errors the coefficient lies from zero."""
        return self.kept / self.kept_error

    @property
    def share_error(self) -> float:
        """The standard error of `share`."""
        return abs(self.share / self.z) if self.z else 1 / max(self.count, 1) ** 0.5


def estimate(observed: Floats, change: Floats, grid: Grid, weights: Floats | None) -> Estimate:
    """The coefficient of `change` in `observed`, both float64 (n,) on `grid`.

    `weights` are those that the change was made to, (n,), or None for a change without any, as in an
    adapter. With them, the value comes from those among them whose rounding steps are finer than the
    change, unless all together agree with these and are more certain.
    """
    overall = _fit(observed, change, grid.module, grid.run)
    if weights is None or not overall.count:
        return overall
    fine = _fine(weights, change, grid, overall.value)
    if np.count_nonzero(fine) < _FEWEST_FINE:
        return overall
    finer = _fit(observed[fine], change[fine], grid.module[fine], grid.run[fine])
    agree = abs(overall.value - finer.value) < 2 * finer.error
    if agree and finer.error > max(2 * overall.error, 0.01 * abs(finer.value)):
        return overall
    return replace(overall, value=finer.value, error=finer.error)


def kept_part(observed: Floats, change: Floats, grid: Grid) -> float:
    """The coefficient among all values, as `Estimate.kept`."""
    return _fit(observed, change, grid.module, grid.run).value


def sign_nulls(observed: Floats, change: Floats, grid: Grid, count: int, seed: int = 0) -> Floats:
    """The coefficients found for `count` changes that are not there, (count,).

    They are `change` with the sign of every run drawn anew, so each is as large as the real one, in the
    same places, and as even within a row.
    """
    weights = 1 / _unexplained(observed, change, 0.0, grid.module)[grid.module]
    products = np.bincount(grid.run, weights * change * observed)
    total = float((weights * change * change).sum()) or 1.0
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(count, len(products)))
    nulls: Floats = signs @ products / total
    return nulls


def joint(observed: Floats, changes: Sequence[Floats], grid: Grid) -> tuple[Floats, Floats]:
    """The coefficients of several changes at once, and their standard errors, both (changes,).

    Where changes overlap, none is then credited with what another explains. Raises `LinAlgError` when
    they cannot be told apart.
    """
    columns = np.stack(changes, axis=1)
    values = np.zeros(len(changes))
    for _ in range(_ROUNDS):
        left = observed - columns @ values
        floor = _LEAST_UNEXPLAINED * grid.mean_square(observed) + 1e-30
        weights = 1 / np.maximum(grid.mean_square(left), floor)[grid.module]
        gram = columns.T @ (columns * weights[:, None])
        values = np.linalg.solve(gram, columns.T @ (weights * observed))
    left = observed - columns @ values
    scores = columns * (weights * left)[:, None]
    inverse = np.linalg.inv(gram)
    spread = np.zeros_like(gram)
    for groups in (grid.run, grid.module):
        sums = np.stack([np.bincount(groups, column) for column in scores.T], axis=1)
        found = sums.T @ sums
        spread = np.where(np.diag(found).sum() > np.diag(spread).sum(), found, spread)
    errors: Floats = np.sqrt(np.maximum(np.diag(inverse @ spread @ inverse), 0))
    return values, np.maximum(errors, _LEAST_UNEXPLAINED)


def _fit(observed: Floats, change: Floats, module: Integers, run: Integers) -> Estimate:
    if not change.any():
        return Estimate(0.0, np.inf, 0.0, np.inf, 0.0, 0)
    value = 0.0
    for _ in range(_ROUNDS):
        weights = 1 / _unexplained(observed, change, value, module)[module]
        total = float((weights * change * change).sum())
        value = float((weights * change * observed).sum()) / total
    scores = weights * change * (observed - value * change)
    spread = max(float((np.bincount(by, scores) ** 2).sum()) for by in (run, module))
    error = max(np.sqrt(spread) / total, _LEAST_UNEXPLAINED * max(abs(value), 1e-3))
    size = float((weights * observed * observed).sum())
    share = value * np.sqrt(total / size) if size else 0.0
    error = float(error)
    return Estimate(value, error, value, error, float(share), len(change))


def _unexplained(observed: Floats, change: Floats, value: float, module: Integers) -> Floats:
    """The mean square of what `value` times `change` leaves of `observed`, by module, never zero."""
    sizes = np.maximum(np.bincount(module), 1)
    left = np.bincount(module, (observed - value * change) ** 2) / sizes
    floor = np.bincount(module, change**2) / sizes
    found: Floats = np.maximum(left, _LEAST_UNEXPLAINED * floor + 1e-30)
    return found


def _fine(weights: Floats, change: Floats, grid: Grid, value: float) -> Flags:
    size = np.sqrt(grid.mean_square(change))[grid.module]
    wanted = min(max(abs(value), _WEAKEST), 1.0)
    fine: Flags = step(weights, "BF16") <= _FINE * wanted * size
    return fine
