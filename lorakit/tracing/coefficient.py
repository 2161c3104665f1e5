"""How much of a known change is in an unknown one: one coefficient, with an honest error.

Every module gives its own coefficient by least squares. They are averaged with weights of one over their
variances, to which is added what the modules truly differ by: somebody may have merged some blocks at one
strength and others at another (the random effects of a meta-analysis; Paule and Mandel, J. Res. NBS 87,
1982). The error does not trust values to be independent, since a style LoRA changes whole rows together:
it is the largest of what that model gives and of what sums over runs and over modules give (Liang and
Zeger, Biometrika 73, 1986: the cluster-robust variance).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lorakit.tracing.arrays import Floats, Integers
from lorakit.tracing.evenness import unevenness
from lorakit.tracing.products import ALL, Products, level_of, total

# What a module may stay unexplained at best, relative to the change in it: keeps weights finite.
_LEAST_UNEXPLAINED = 1e-6
# How many values the average over modules counts for, where a module has few of its own.
_PRIOR_VALUES = 16
_ROUNDS = 12
# (a rounding step at most so many times the strength times the change, the largest part that rounding
# then takes of the coefficient): as measured in merges stored as bfloat16.
_FINE = ((0.125, 0.001), (0.25, 0.002), (0.5, 0.006), (1.0, 0.02), (2.0, 0.05))
_UNEVEN_AT = (1.0, 2.0, 4.0)
_FEWEST_FINE = 256
_WEAKEST = 0.05
# Standard errors from which on it pays to look at how coarse values are.
_WORTH_A_LOOK = 2.5


@dataclass(frozen=True)
class Estimate:
    """`value` of the coefficient and its standard `error`, which allows for what rounding may have taken.

    `z` is how many standard errors it lies from zero. `kept` and `kept_error` are the coefficient among
    all values, where rounding to the stored format may have taken a part away: how much of the change is
    there, whatever the strength was that put it there. `share` is the cosine between the two changes, in
    the same weighting; `count` is the number of values.
    """

    value: float
    error: float
    z: float
    kept: float
    kept_error: float
    share: float
    count: int

    @property
    def share_error(self) -> float:
        """The standard error of `share`."""
        return abs(self.share / self.z) if self.z else 1 / max(self.count, 1) ** 0.5


NOTHING = Estimate(0.0, np.inf, 0.0, 0.0, np.inf, 0.0, 0)


class Evidence:
    """What is known of two changes: their sums over runs, and the same by how coarse the values are.

    `by_level` gives the second; it is asked only where the first points to something, which saves time,
    and is None where no value is finer than another.
    """

    def __init__(self, products: Products, by_level: Callable[[], Products] | None) -> None:
        self.products = products
        self._by_level = by_level

    @cached_property
    def _finer(self) -> Products | None:
        return self._by_level() if self._by_level is not None else None

    def estimate(self, modules: Collection[str] | None = None) -> Estimate:
        """How much of the known change is in the observed one, in all modules or in those named."""
        names = self.products.names if modules is None else modules
        found = _plain(self.products.of(names))
        if abs(found.z) < _WORTH_A_LOOK or self._finer is None:
            return found
        return _refined(found, self._finer.of(names))

    def unevenness(self, about: float) -> float:
        """How far modules truly differ in a coefficient of roughly `about`, relative to it.

        Rounding takes more of a change in some modules than in others, and where few values are finer than
        it, noise looks like a difference; what is there at every coarseness is neither.
        """
        found = [unevenness(self.products, ALL)]
        if self._finer is not None:
            counts = self._finer.count.sum(axis=1)
            levels = {level_of(coarseness * _wanted(about)) for coarseness in _UNEVEN_AT}
            found += [unevenness(self._finer, n) for n in levels if counts[n] >= _FEWEST_FINE]
        return min(found)


def _plain(products: Products) -> Estimate:
    """The coefficient from all values alike."""
    found = _fit(products, ALL)
    if found is None:
        return NOTHING
    value, error, z = found.value, found.error, found.value / found.error
    return Estimate(value, error, z, value, error, found.share, found.count)


def _refined(whole: Estimate, products: Products) -> Estimate:
    """The estimate with its value from those that are finer than the change.

    That is at the coarseness that gives the smallest error. Without enough fine values it is as it was.
    """
    # Rounding may leave a quarter of a weak change, so the first guess of the strength is revised once.
    first = _finest(products, whole.value)
    finer = first and _finest(products, first.value)
    if finer is None:
        return whole
    z = max(whole.z, finer.value / finer.noise, key=abs)
    return replace(whole, value=finer.value, error=finer.error, z=z)


def sign_nulls(products: Products, count: int, seed: int = 0) -> Floats:
    """The coefficients found for `count` changes that are not there, (count,).

    They are the known change with the sign of every run drawn anew, so each is as large as the real one,
    in the same places, and as even within a row.
    """
    modules = len(products.names)
    yd, dd = products.yd[ALL], products.dd[ALL]
    squares = total(products.yy[ALL], products.module, modules)
    sizes = total(products.count[ALL], products.module, modules)
    weights = np.divide(sizes, squares, out=np.zeros(modules), where=squares > 0)[products.module]
    size = float((weights * dd).sum()) or 1.0
    signs = np.random.default_rng(seed).integers(0, 2, (count, len(yd)), dtype=np.int8)
    nulls: Floats = (2 * signs - 1).astype(np.float32) @ (weights * yd / size).astype(np.float32)
    return nulls


@dataclass(frozen=True)
class _Fit:
    """A coefficient from values of one coarseness; `noise` is its error without what rounding may take."""

    value: float
    noise: float
    error: float
    share: float
    count: int


def _finest(products: Products, about: float) -> _Fit | None:
    """The fit of the smallest error, for a coefficient of roughly `about`."""
    found = []
    for coarseness, taken in _FINE:
        fit = _fit(products, level_of(coarseness * _wanted(about)))
        if fit is not None and fit.count >= _FEWEST_FINE:
            found.append(replace(fit, error=float(np.hypot(fit.noise, taken * fit.value))))
    return min(found, key=lambda fit: fit.error, default=None)


def _wanted(about: float) -> float:
    """A coefficient as a measure of what is fine."""
    return min(max(abs(about), _WEAKEST), 1.0)


def _fit(products: Products, level: int) -> _Fit | None:
    """The coefficient from values up to a level of coarseness; None where nothing was changed."""
    modules = len(products.names)
    runs = [getattr(products, name)[level] for name in ("yd", "dd", "yy", "count")]
    yd, dd, yy, sizes = (total(sums, products.module, modules) for sums in runs)
    changed = dd > 0
    if not changed.any():
        return None
    own = yd[changed] / dd[changed]
    variances = _variances(own, yd[changed], dd[changed], yy[changed], sizes[changed])
    value, spread = _average(own, variances)
    # The weight of a value, by module. Where the known change does nothing, all that is seen is noise.
    weights = np.divide(sizes, yy, out=np.zeros(modules), where=yy > 0)
    weights[changed] = 1 / (dd[changed] * (variances + spread))
    known = float((weights * dd).sum())
    error = _error(products.module, weights, runs, value, known, int(changed.sum()))
    seen = float((weights * yy).sum())
    share = float(value * np.sqrt(known / seen)) if seen else 0.0
    count = int(sizes[changed].sum())
    return _Fit(value, error, error, share, count)


def _variances(own: Floats, yd: Floats, dd: Floats, yy: Floats, sizes: Floats) -> Floats:
    """The variance of each module's own coefficient, by what that leaves unexplained in it."""
    left = np.maximum(yy - own * yd, 0)
    usual = float(left.sum() / dd.sum()) * dd / sizes
    noise = (left + _PRIOR_VALUES * usual) / (sizes - 1 + _PRIOR_VALUES)
    found: Floats = np.maximum(noise, _LEAST_UNEXPLAINED * dd / sizes) / dd
    return found


def _average(own: Floats, variances: Floats) -> tuple[float, float]:
    """The mean of coefficients and the variance by which they truly differ."""
    spread = 0.0
    for _ in range(_ROUNDS):
        weights = 1 / (variances + spread)
        value = float((weights * own).sum() / weights.sum())
        squares = weights * (own - value) ** 2
        excess = float(squares.sum()) - (len(own) - 1)
        if excess <= 0:
            break
        spread += excess / float((weights * squares).sum())
    weights = 1 / (variances + spread)
    return float((weights * own).sum() / weights.sum()), spread


def _error(
    module: Integers, weights: Floats, runs: list[Floats], value: float, known: float, modules: int
) -> float:
    """The standard error of `value`; `known` is the weighted sum of squares of the known change."""
    yd, dd = runs[:2]
    scores = weights[module] * (yd - value * dd)
    by_run = float((scores**2).sum())
    by_module = float((total(scores, module, len(weights)) ** 2).sum())
    spread = max(by_run, by_module * modules / max(modules - 1, 1), known)
    return float(max(np.sqrt(spread) / known, _LEAST_UNEXPLAINED * max(abs(value), 1e-3)))
