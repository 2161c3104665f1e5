"""The factors of all entries, resident on the device, in the form each way of multiplying needs.

A product of 16-bit factors must not add to the one rounding that the fused weight gets. Measured over
the error of ideal rounding, for a delta of half the weight's norm: rounding strength x up to bfloat16
costs 10 to 19 %, float16 with powers of two taken out 0.3 %, a pair of bfloat16 (hi + lo) nothing.
So `baddbmm`, whose factors must have the dtype of the weights, gets pairs; the fused kernel, whose
factors need not, gets float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lorakit.fusion.live_groups import Group

Method = Literal["baddbmm", "fused"]

# The fused kernel walks the rank in steps of 64; a matrix library likes multiples of 16 bytes.
ALIGN: dict[Method, int] = {"baddbmm": 8, "fused": 64}


@dataclass(frozen=True)
class Factors:
    """Joined factors of a group of n weights (out, in), R columns of rank.

    up (n, out, R); down (n, sections * R, in); scale (n, R), 0 where a row has no such factor; entry
    (R,) tells whose column each is. delta[i] = unit[i] * (up[i] * scale[i] * strength) @ down[i],
    summed over sections as `split_down` makes them.
    """

    up: torch.Tensor
    down: torch.Tensor
    sections: int
    scale: torch.Tensor
    unit: torch.Tensor
    entry: torch.Tensor

    @property
    def rank(self) -> int:
        """R, padding included."""
        return self.up.shape[2]


def stack_factors(group: Group, device: torch.device, method: Method) -> Factors:
    """Join the factors of `group` on `device`, in the form that `method` multiplies."""
    rank = group.rank(ALIGN[method])
    rows, columns = group.shape
    count = len(group.tensors)
    wide = torch.float64 if group.live == torch.float64 else torch.float32
    raw = _common_dtype(group)
    up = torch.zeros(count, rows, rank, dtype=raw, device=device)
    down = torch.zeros(count, rank, columns, dtype=raw, device=device)
    scales = torch.zeros(count, rank, dtype=wide)
    entries = torch.zeros(rank, dtype=torch.int64)
    for (row, entry), pair in group.factors.items():
        start = group.slots[entry].start
        part = slice(start, start + pair.down.shape[0])
        up[row, :, part].copy_(pair.up)
        down[row, part].copy_(pair.down)
        scales[row, part] = pair.scale
        entries[group.slots[entry]] = entry
    scale, entry_of = scales.to(device), entries.to(device)
    if method == "fused":
        return _in_half(up, down, scale, entry_of)
    unit = torch.ones(count, dtype=wide, device=device)
    if group.live.itemsize > 2:
        return Factors(up.to(group.live), down.to(group.live), 1, scale, unit, entry_of)
    joined, sections = split_down(down, group.live)
    return Factors(up, joined, sections, scale, unit, entry_of)


def split_down(down: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, int]:
    """`down` (n, R, in) as [high, -high] or, where high is not exact, [high, -high, low].

    The sections meet those of `split_up`: up = high - rest, so high @ high + rest @ -high
    (+ high @ low) is the whole product.
    """
    high = down.to(dtype)
    low = (down - high.to(down.dtype)).to(dtype) if down.dtype != dtype else None
    if low is None or not bool(low.any()):
        return torch.cat([high, -high], 1), 2
    return torch.cat([high, -high, low], 1), 3


def split_up(up: torch.Tensor, coefficients: torch.Tensor, out: torch.Tensor) -> None:
    """Write up * coefficients into `out` (n, out, sections * R), split as `split_down` expects.

    up (n, out, R), coefficients (n, R). Each step is one pass: the product is taken in the wider dtype
    and rounded on its way to memory.
    """
    rank = up.shape[2]
    factor = coefficients.unsqueeze(1)
    high = out[:, :, :rank]
    torch.mul(up, factor, out=high)
    if out.shape[2] > rank:
        torch.addcmul(high, up, factor, value=-1, out=out[:, :, rank : 2 * rank])
    if out.shape[2] > 2 * rank:
        out[:, :, 2 * rank :].copy_(high)


def wide_product(factors: Factors, row: int, coefficients: torch.Tensor) -> torch.Tensor:
    """The delta (out, in) of one row in float32 (float64), for rows that are summed there."""
    wide = coefficients.dtype
    rank = factors.rank
    down = factors.down[row, :rank].to(wide)
    if factors.sections == 3:
        down = down + factors.down[row, 2 * rank :].to(wide)
    scaled = factors.up[row].to(wide) * (coefficients[row] * factors.unit[row])
    return scaled @ down


def _common_dtype(group: Group) -> torch.dtype:
    """The one dtype of all factors where they share it and it is one to compute with, else float32."""
    if group.live == torch.float64:
        return torch.float64
    found = {t.dtype for pair in group.factors.values() for t in (pair.up, pair.down)}
    only = found.pop() if len(found) == 1 else torch.float32
    return only if only in (torch.bfloat16, torch.float16) else torch.float32


def _in_half(
    up: torch.Tensor, down: torch.Tensor, scale: torch.Tensor, entry: torch.Tensor
) -> Factors:
    """Factors in float16: every column of up and row of down brought to 0.5..1 by a power of two.

    The powers go into scale, and their largest into unit, so that strength x scale x up stays far
    below float16's 65504 for any sensible strength.
    """
    up_power, down_power = _powers(up.abs().amax(1)), _powers(down.abs().amax(2))
    scale = scale * up_power * down_power
    unit = _powers(scale.abs().amax(1, keepdim=True))
    half_up = (up.float() / up_power.unsqueeze(1)).half()
    half_down = (down.float() / down_power.unsqueeze(2)).half()
    return Factors(half_up, half_down, 1, scale / unit, unit.squeeze(1), entry)


def _powers(largest: torch.Tensor) -> torch.Tensor:
    """The power of two at or above each value, 1 for zero, in float32."""
    _, exponent = torch.frexp(largest.float())
    return torch.ldexp(torch.ones_like(largest, dtype=torch.float32), exponent)
