"""One group on its device: pristine and live weights, factors, and the arithmetic between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lorakit.errors import NotFusable
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.live_factors import (
    Factors,
    Method,
    split_up,
    stack_factors,
    wide_product,
)
from lorakit.fusion.live_groups import DeltaOf, Group
from lorakit.fusion.live_memory import Mode

# Weights that the library's way copies and multiplies at once: small enough to stay in a GPU's
# second-level cache (50 MB on an H100) between the copy and the product.
CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class Resident:
    """A group of n tensors that lives on a device.

    pristine (n, *shape) in the stored dtype, on the device or pinned on the host; live (n, *shape),
    whose rows are the tensors given out; strengths (n, entries) float64, a view of the engine's one
    buffer; coefficients (n, R), scratch of strength x scale; dense, the changes at strength 1.
    """

    group: Group
    method: Method
    pristine: torch.Tensor
    live: torch.Tensor
    factors: Factors | None
    strengths: torch.Tensor
    coefficients: torch.Tensor
    dense: Mapping[tuple[int, int], torch.Tensor]
    chunk: int


def place_group(
    group: Group,
    base: BaseTensors,
    strengths: torch.Tensor,
    method: Method,
    mode: Mode,
    chunk_bytes: int | None,
) -> Resident:
    """Put `group` on the device of `strengths`; the live weights start as the pristine ones."""
    device = strengths.device
    count = len(group.tensors)
    live = torch.empty((count, *group.shape), dtype=group.live, device=device)
    on_host = mode == "host"
    pristine = torch.empty(
        (count, *group.shape),
        dtype=group.stored,
        device="cpu" if on_host else device,
        pin_memory=on_host and device.type == "cuda",
    )
    for row, name in enumerate(group.tensors):
        pristine[row].copy_(base[base.names[name]])
    live.copy_(pristine)
    factors = stack_factors(group, device, method) if group.factors else None
    wide = torch.float64 if group.live == torch.float64 else torch.float32
    rank = factors.rank if factors else 0
    dense = {
        at: _dense_change(group, at[0], delta, pristine[at[0]].to(device, wide))
        for at, delta in group.dense.items()
    }
    row_bytes = max(live[0].numel() * live.element_size(), 1)
    return Resident(
        group,
        method,
        pristine,
        live,
        factors,
        strengths,
        torch.zeros(count, rank, dtype=wide, device=device),
        dense,
        count if chunk_bytes is None else max(chunk_bytes // row_bytes, 1),
    )


def _dense_change(group: Group, row: int, delta: DeltaOf, weight: torch.Tensor) -> torch.Tensor:
    """The change at strength 1, in the shape and dtype of `weight`."""
    try:
        return delta(weight).to(weight).reshape(weight.shape).contiguous()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        raise NotFusable(
            f"An adapter's change of {group.tensors[row]} does not fit a weight of "
            f"{list(weight.shape)}: {str(error).splitlines()[0]}.",
            hint="The adapter was trained on another model, or its file is damaged.",
        ) from error


def scratch_numel(resident: Resident) -> int:
    """Elements of the scratch buffer that `fuse_rows` needs for scaled factors."""
    factors = resident.factors
    if factors is None or resident.method == "fused":
        return 0
    rows = min(resident.chunk, len(resident.group.tensors))
    return rows * factors.up.shape[1] * factors.sections * factors.rank


def refresh_coefficients(resident: Resident) -> None:
    """strength x scale of every row and column of rank, from the strengths now on the device."""
    if resident.factors is not None:
        chosen = resident.strengths.index_select(1, resident.factors.entry)
        torch.mul(resident.factors.scale, chosen, out=resident.coefficients)


def restore_rows(resident: Resident, rows: slice) -> None:
    """Make `rows` the pristine weights, byte for byte."""
    resident.live[rows].copy_(resident.pristine[rows], non_blocking=True)


def fuse_rows(resident: Resident, rows: slice, scratch: torch.Tensor) -> None:
    """Make `rows` the pristine weights plus the product of the factors, rounded once."""
    factors = resident.factors
    if factors is None:
        return
    if resident.method == "fused":
        from lorakit.fusion import live_kernel

        for pristine, piece in _on_device(resident, rows):
            live_kernel.fuse_rows(pristine, resident.live, factors, resident.coefficients, piece)
        return
    width = factors.sections * factors.rank
    for start in range(rows.start, rows.stop, resident.chunk):
        piece = slice(start, min(start + resident.chunk, rows.stop))
        shape = (piece.stop - piece.start, factors.up.shape[1], width)
        scaled = scratch[: shape[0] * shape[1] * shape[2]].view(shape)
        split_up(factors.up[piece], resident.coefficients[piece], scaled)
        restore_rows(resident, piece)
        # In place: with another output the library would copy the whole of it first.
        resident.live[piece].baddbmm_(scaled, factors.down[piece])


def _on_device(resident: Resident, rows: slice) -> Sequence[tuple[torch.Tensor, slice]]:
    """The pristine weights for the fused kernel; from the host they are brought to the live buffer.

    Each tile of the kernel reads its part of the weights before it writes the same part, so pristine
    and live may be one buffer.
    """
    if resident.pristine.device == resident.live.device:
        return [(resident.pristine, rows)]
    restore_rows(resident, rows)
    return [(resident.live, rows)]


def fuse_dense_row(resident: Resident, row: int) -> None:
    """Re-fuse one row whose change is no product of thin factors, summed in float32 (float64)."""
    total = resident.pristine[row].to(resident.live.device, resident.coefficients.dtype)
    # `.to` gives the pristine row itself where nothing has to change; it must not be written to.
    total = total.clone() if total.data_ptr() == resident.pristine[row].data_ptr() else total
    if resident.factors is not None:
        total += wide_product(resident.factors, row, resident.coefficients)
    for (at, entry), change in resident.dense.items():
        if at == row:
            total.addcmul_(change, resident.strengths[row, entry].to(total.dtype))
    resident.live[row].copy_(total)
