"""A weight plus the low-rank products of all entries, rounded once.

Three ways to the same sum, for three kinds of processor; all give the error of one rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorakit.adapters.adapter import LowRank
from lorakit.fusion.pages import empty_result

# Rows of a weight that are worked on at once on a CPU: 2 MB of float32 at a width of 2048.
STRIP_ROWS = 256


def add_products(
    weight: torch.Tensor, terms: Sequence[LowRank], dtype: torch.dtype
) -> torch.Tensor:
    """`weight` (out, in) plus the sum of `terms`, of which there is one, as a new tensor in `dtype`."""
    if weight.is_cpu and weight.dtype == dtype == torch.bfloat16 and has_bf16_tiles():
        return _add_in_bf16(weight, terms)
    up, down = join_factors(terms, weight)
    if weight.is_cpu:
        return _add_by_strips(weight, up, down, dtype)
    return torch.addmm(weight.to(up.dtype), up, down).to(dtype)


def work_dtype(weight: torch.Tensor) -> torch.dtype:
    """float32, or float64 for a float64 weight: what deltas of `weight` are summed in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def join_factors(
    terms: Sequence[LowRank], weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """All terms as one product: up (out, rank), scaled, and down (rank, in), beside `weight`."""
    work = work_dtype(weight)
    down = torch.cat([term.down.to(weight.device, work) for term in terms], 0)
    return _scaled_up(terms, weight.device, work), down


def _scaled_up(terms: Sequence[LowRank], device: torch.device, work: torch.dtype) -> torch.Tensor:
    parts = [term.up for term in terms]
    if len({part.dtype for part in parts}) == 1:
        # Joined as they are stored, which is the least to move.
        up = torch.cat([part.to(device) for part in parts], 1).to(work)
    else:
        up = torch.cat([part.to(device, work) for part in parts], 1)
    scales = [torch.full((term.down.shape[0],), term.scale, dtype=work) for term in terms]
    return up.mul_(torch.cat(scales).to(device))


def has_bf16_tiles() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX)."""
    # PyTorch has no public name for it; where the private one has gone, the slower way is taken.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask and ask())


def _add_in_bf16(weight: torch.Tensor, terms: Sequence[LowRank]) -> torch.Tensor:
    """One bfloat16 product, summed in float32 and rounded once by the hardware.

    Each factor is split into two bfloat16 numbers whose sum has 16 bits, and the parts are joined
    along the rank: what is dropped (low times low) is 2⁻¹⁶ of the delta. Factors that bfloat16 holds
    exactly, as those stored in it, have no low part.
    """
    up_high, up_low = _split(_scaled_up(terms, weight.device, torch.float32))
    ups = [up_high] if up_low is None else [up_high, up_low]
    if all(term.down.dtype == torch.bfloat16 for term in terms):
        downs = [term.down for term in terms] * len(ups)
    else:
        high, low = _split(torch.cat([term.down.float() for term in terms]))
        downs = [high] * len(ups)
        if low is not None:
            ups.append(up_high)
            downs.append(low)
    result = empty_result(weight.shape, torch.bfloat16)
    return torch.addmm(weight, torch.cat(ups, 1), torch.cat(downs), out=result)


def _split(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Float32 `tensor` as the sum of two bfloat16 numbers; None for a second that is nothing."""
    high = tensor.bfloat16()
    held = high.float()
    if torch.equal(held, tensor):
        return high, None
    return high, torch.sub(tensor, held, out=held).bfloat16()


def _add_by_strips(
    weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """A strip of rows at a time, whose float32 copy stays in the cache.

    Large float32 temporaries cost more on a CPU than the arithmetic.
    """
    result = empty_result(weight.shape, dtype)
    strip = torch.empty(min(STRIP_ROWS, weight.shape[0]), weight.shape[1], dtype=up.dtype)
    for start in range(0, weight.shape[0], STRIP_ROWS):
        piece = slice(start, start + STRIP_ROWS)
        total = strip[: weight[piece].shape[0]]
        total.copy_(weight[piece]).addmm_(up[piece], down)
        result[piece] = total
    return result
