"""What rounding a changed weight to the stored dtype will lose of the change, predicted from sizes alone.

A weight w that lies on the grid of its dtype, of step u at w, comes back as w + u round(δ/u). For a change
δ spread like a bell curve of width t u, the error e = δ - u round(δ/u) has, by the Fourier series of the
sawtooth (Widrow and Kollár, Quantization Noise, 2008),

    E[e²] = u² (1/12 + Σ (-1)ⁿ exp(-2π²n²t²) / (π²n²)),   n = 1, 2, ...

which is u²/12 for wide changes and δ² for those that are lost altogether. Weights are taken to be spread
like a bell curve too, each binade with its own step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from types import MappingProxyType

import torch


@dataclass(frozen=True)
class Grid:
    """A float format: bits of fraction, and the exponent of its smallest normal number."""

    fraction: int
    smallest: int


GRIDS: Mapping[str, Grid] = MappingProxyType(
    {
        "F32": Grid(23, -126),
        "BF16": Grid(7, -126),
        "F16": Grid(10, -14),
        "F8_E4M3": Grid(3, -6),
        "F8_E5M2": Grid(2, -14),
    }
)
_TERMS = 24
# Below this width the series needs more terms, and next to nothing is rounded away from zero.
_NARROW = 0.05
# From this width on the series is nothing beside 1/12.
_WIDE = 1.5
# Binades below the widest weight that are told apart; what lies below them is a thousandth of a thousandth.
_BINADES = 24


def squared_error(
    changes: torch.Tensor, weights: torch.Tensor, grid: Grid, *, on_grid: bool = True
) -> torch.Tensor:
    """The mean square of what rounding to `grid` puts wrong, for each module, float64 (..., M).

    `changes` (..., M) and `weights` (M,) are root mean squares. Weights that are not `on_grid`, such as scaled 8-bit
    ones, are rounded wherever the change is nothing, too.
    """
    steps, shares = _steps(weights.double(), grid)
    if not on_grid:
        return (shares * steps.square() / 12).sum(1).expand(changes.shape)
    wide = changes.double()[..., None] / steps
    return (shares * steps.square() * _sawtooth(wide)).sum(-1)


def _steps(weights: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """For each module and binade of its weights the grid's step, and the share of the weights in it."""
    top = torch.log2(weights.clamp_min(1e-30)).ceil()[:, None] + 3
    exponents = top - torch.arange(_BINADES, dtype=torch.float64)
    lower, upper = (_within(torch.exp2(exponents + up) / weights[:, None]) for up in (0, 1))
    shares = upper - lower
    # The last binade stands for all below it, the first for all above.
    shares[:, -1] += lower[:, -1]
    shares[:, 0] += 1 - upper[:, 0]
    return torch.exp2(exponents.clamp_min(grid.smallest) - grid.fraction), shares


def _within(bounds: torch.Tensor) -> torch.Tensor:
    """The share of a bell curve of width 1 between -bound and bound."""
    return torch.erf(bounds / sqrt(2))


def _sawtooth(wide: torch.Tensor) -> torch.Tensor:
    """E[(x - round x)²] of a bell curve of width `wide`."""
    n = torch.arange(1, _TERMS + 1, dtype=torch.float64)
    signs = 1 - 2 * (n % 2)
    found = torch.where(wide < _NARROW, wide.square(), 1 / 12)
    between = (wide >= _NARROW) & (wide < _WIDE)
    waves = torch.exp(-2 * (pi * n * wide[between][:, None]).square()) * signs / (pi * n).square()
    found[between] += waves.sum(-1)
    return found
