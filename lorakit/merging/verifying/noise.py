"""Whether values differ as another machine's rounding makes them, or as damage does.

A sum in another order moves what is computed by a little everywhere, and rounding shows it where the
numbers of the format lie close enough. So one step of the format is explained, and one float32 step of
the tensor's largest value. What lies further apart is noise only where it is not alone: of the numbers in
its tensor, row or column that have steps much finer than the difference, a quarter differ too, and by no
less than a thirty-second of it. Singular vectors that come out the other way round, or turned among
themselves, pass by the same rule: they differ along a whole row or column.
"""

from __future__ import annotations

import torch

from lorakit.adapters.tensor_file import DTYPE_CODES
from lorakit.tracing.rounding import FORMATS, step

# One step of float32, relative to the largest value.
_FLOAT32_STEP = 2.0**-23
# Numbers whose steps are so many times as fine as a difference would show it.
_FINER = 8
# The largest of some thousands of differences is about six times the usual one.
_OUTLIER = 32
_FEWEST = 8
# A quarter of them differ by so much at least.
_QUARTER = 0.75
# So many numbers tell how others differ: of a tensor, and of a row, of which so many are looked at at once.
_SAMPLED, _SAMPLED_ROW, _ROWS = 1 << 16, 1 << 12, 1 << 10


def beyond_a_step(
    found: torch.Tensor, expected: torch.Tensor, differing: torch.Tensor
) -> torch.Tensor:
    """Where two tensors of one shape and dtype differ by more than one rounding may; bool, of that shape.

    That is one step of their dtype and one float32 step of the largest value expected; in a dtype that is
    no float, all that is `differing`, which tells where their bits do.
    """
    if not _is_float(expected) or not bool(differing.any()):
        return differing
    beyond = torch.zeros_like(differing)
    where = torch.nonzero(differing, as_tuple=True)
    one, other = found[where].double(), expected[where].double()
    steps = _steps(torch.maximum(one.abs(), other.abs()).float(), expected.dtype)
    largest = float(expected.float().abs().nan_to_num(0.0, posinf=0.0).max())
    allowed = steps.double() + _FLOAT32_STEP * largest
    # A NaN is within nothing.
    beyond[where] = ~((one - other).abs() <= allowed)
    return beyond


def alone(beyond: torch.Tensor, found: torch.Tensor, expected: torch.Tensor) -> int:
    """How many of the values `beyond` a step have no company: nothing about them differs likewise."""
    count = int(beyond.sum())
    if not count or not _is_float(expected):
        return count
    gap, steps = (found.float() - expected.float()).abs(), _steps(expected.float(), expected.dtype)
    if not bool(gap[beyond].isfinite().all()):
        return count
    apart = max(1, gap.numel() // _SAMPLED) | 1
    whole = [tensor.reshape(1, -1)[:, ::apart] for tensor in (gap, steps)]
    if bool(_company(gap[beyond].max()[None], *whole)):
        return 0
    if gap.ndim != 2:
        return count
    left = beyond & ~_company_by_row(gap, steps, beyond)
    left &= ~_company_by_row(gap.T, steps.T, beyond.T).T
    return int(left.sum())


def _company_by_row(gap: torch.Tensor, steps: torch.Tensor, beyond: torch.Tensor) -> torch.Tensor:
    """For each row (n, 1) whether what is beyond a step in it has company there."""
    found = torch.zeros(len(gap), 1, dtype=torch.bool)
    apart = gap.shape[1] // _SAMPLED_ROW + 1
    for rows in torch.split(torch.nonzero(beyond.any(1)).flatten(), _ROWS):
        largest = gap[rows].where(beyond[rows], 0).amax(1)
        found[rows, 0] = _company(largest, gap[rows, ::apart], steps[rows, ::apart])
    return found


def _company(largest: torch.Tensor, gap: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """For each row of `gap` (n, k) whether those numbers that would show the `largest` (n,) differ, too."""
    would_show = steps <= largest[:, None] / _FINER
    # Not the difference itself that is asked about.
    would_show &= torch.arange(gap.shape[1]) != gap.argmax(1, keepdim=True)
    usual = gap.where(would_show, torch.nan).nanquantile(_QUARTER, dim=1)
    return (would_show.sum(1) >= _FEWEST) & (largest <= _OUTLIER * usual)


def _steps(sizes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(step(sizes.numpy(), DTYPE_CODES[dtype])).float()


def _is_float(tensor: torch.Tensor) -> bool:
    return DTYPE_CODES[tensor.dtype] in FORMATS
