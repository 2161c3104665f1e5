"""A weight plus a low-rank product, rounded once.

Three ways to the same sum, for three kinds of processor; all give the error of one rounding.
"""

from __future__ import annotations

import torch

from lorakit.fusion.pages import empty_result

# Rows of a weight that are worked on at once on a CPU: 2 MB of float32 at a width of 2048.
STRIP_ROWS = 256


def add_product(
    weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """`weight + up @ down`, (out, in), as a new tensor in `dtype`.

    up (out, rank) is float32, or float64 for a float64 weight; down (rank, in) is that or narrower; both
    are on the weight's device.
    """
    if weight.is_cpu and weight.dtype == dtype == torch.bfloat16 and has_bf16_tiles():
        return _add_in_bf16(weight, up, down)
    down = down.to(up.dtype)
    if weight.is_cpu:
        return _add_by_strips(weight, up, down, dtype)
    return torch.addmm(weight.to(up.dtype), up, down).to(dtype)


def has_bf16_tiles() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX)."""
    # PyTorch has no public name for it; where the private one has gone, the slower way is taken.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask and ask())


def _add_in_bf16(weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """One bfloat16 product, summed in float32 and rounded once by the hardware.

    Each factor is split into two bfloat16 numbers whose sum has 16 bits, and the parts are joined
    along the rank: what is dropped (low times low) is 2⁻¹⁶ of the delta. Factors that bfloat16 holds
    exactly, as those stored in it, have no low part.
    """
    up_high, up_low = _split(up)
    down_high, down_low = _split(down)
    ups, downs = [up_high], [down_high]
    if up_low is not None:
        ups.append(up_low)
        downs.append(down_high)
    if down_low is not None:
        ups.append(up_high)
        downs.append(down_low)
    result = empty_result(weight.shape, torch.bfloat16)
    return torch.addmm(weight, torch.cat(ups, 1), torch.cat(downs), out=result)


def _split(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`tensor` as the sum of two bfloat16 numbers; None for a second that is nothing."""
    if tensor.dtype == torch.bfloat16:
        return tensor, None
    high = tensor.bfloat16()
    held = high.float()
    return high, None if torch.equal(held, tensor) else (tensor - held).bfloat16()


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
