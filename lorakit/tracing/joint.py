"""The coefficients of several known changes at once, so that none is credited with another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorakit.tracing.arrays import Floats
from lorakit.tracing.grid import Grid

_ROUNDS = 4
_LEAST_UNEXPLAINED = 1e-6


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
