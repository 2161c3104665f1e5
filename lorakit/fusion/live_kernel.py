"""The fused kernel: scale, multiply, add to the pristine weight and round, in one pass over memory.

A library's `baddbmm(W, ...)` with another output first copies W there and reads it back, which doubles
the traffic of an operation that is bound by traffic. This module needs Triton and is imported only
where that is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from lorakit.fusion.live_factors import Factors


@dataclass(frozen=True)
class Tile:
    """How the kernel cuts its work: rows and columns of a tile, warps and pipeline stages.

    `early` asks for the pristine tile before the products, so that it arrives while they are computed.
    That takes registers all the while: without it this tile needs 123 on an H100, so that two programs
    share a multiprocessor and one computes while the other waits for memory.
    """

    rows: int = 128
    columns: int = 128
    warps: int = 8
    stages: int = 3
    early: bool = False


STEP = 64
DEFAULT_TILE = Tile()


@triton.jit(do_not_specialize=["first"])  # type: ignore[misc, untyped-decorator, unused-ignore]
def _fuse_tile(  # type: ignore[no-untyped-def, unused-ignore]  # noqa: ANN202
    pristine,  # noqa: ANN001
    live,  # noqa: ANN001
    up,  # noqa: ANN001
    down,  # noqa: ANN001
    coefficients,  # noqa: ANN001
    units,  # noqa: ANN001
    rows,  # noqa: ANN001
    columns,  # noqa: ANN001
    rank,  # noqa: ANN001
    first,  # noqa: ANN001
    EVEN: tl.constexpr,
    EARLY: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    matrix = (tl.program_id(1) + first).to(tl.int64)
    tile = tl.program_id(0)
    across = tl.cdiv(columns, BLOCK_N)
    m = (tile // across) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = (tile % across) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    inside_m = m[:, None] < rows
    inside_n = n[None, :] < columns
    place = matrix * rows * columns + m[:, None] * columns + n[None, :]
    if EARLY:
        if EVEN:
            weight = tl.load(pristine + place)
        else:
            weight = tl.load(pristine + place, mask=inside_m & inside_n, other=0.0)
    up_at = up + matrix * rows * rank + m[:, None] * rank + k[None, :]
    down_at = down + matrix * rank * columns + k[:, None] * columns + n[None, :]
    factor_at = coefficients + matrix * rank + k
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(0, rank, BLOCK_K):
        factor = tl.load(factor_at)
        if EVEN:
            left = tl.load(up_at)
            right = tl.load(down_at)
        else:
            left = tl.load(up_at, mask=inside_m, other=0.0)
            right = tl.load(down_at, mask=inside_n, other=0.0)
        scaled = (left.to(tl.float32) * factor[None, :]).to(tl.float16)
        total = tl.dot(scaled, right, total)
        up_at += BLOCK_K
        down_at += BLOCK_K * columns
        factor_at += BLOCK_K
    if not EARLY:
        if EVEN:
            weight = tl.load(pristine + place)
        else:
            weight = tl.load(pristine + place, mask=inside_m & inside_n, other=0.0)
    result = (weight.to(tl.float32) + total * tl.load(units + matrix)).to(live.dtype.element_ty)
    if EVEN:
        tl.store(live + place, result)
    else:
        tl.store(live + place, result, mask=inside_m & inside_n)


def fuse_rows(
    pristine: torch.Tensor,
    live: torch.Tensor,
    factors: Factors,
    coefficients: torch.Tensor,
    rows: slice,
    tile: Tile = DEFAULT_TILE,
) -> None:
    """live[rows] = pristine[rows] + the product of `factors`, rounded once.

    pristine, live (n, out, in) contiguous bfloat16; coefficients (n, R) float32; factors as
    `stack_factors(..., "fused")` makes them. Works in the current stream and allocates nothing.
    """
    _, height, width = live.shape
    tiles = triton.cdiv(height, tile.rows) * triton.cdiv(width, tile.columns)
    # Whole buffers and a first row, not slices: Triton compiles anew for every alignment it meets.
    grid = (tiles, rows.stop - rows.start)
    _fuse_tile[grid](
        pristine,
        live,
        factors.up,
        factors.down,
        coefficients,
        factors.unit,
        height,
        width,
        factors.rank,
        rows.start,
        EVEN=height % tile.rows == 0 and width % tile.columns == 0,
        EARLY=tile.early,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=STEP,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
