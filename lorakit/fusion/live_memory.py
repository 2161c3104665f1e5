"""Where the pristine weights are kept: on the device, or pinned on the host for a small card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch

from lorakit.errors import NotFusable
from lorakit.fusion.live_groups import Group

Mode = Literal["device", "host"]

# Left free for the rest of a pipeline: untouched weights, text encoder, VAE, activations.
RESERVE_BYTES = 4 << 30


class DoesNotFit(NotFusable):
    """The device is too small for live re-weighting; fusing again, a weight at a time, may still do."""


@dataclass(frozen=True)
class Needs:
    """Bytes on the device: `always` in either mode, `pristine` only where that copy lies there."""

    always: int
    pristine: int


@dataclass(frozen=True)
class Placement:
    """Where the pristine copy lies, and why, in one sentence."""

    mode: Mode
    reason: str


def measure_needs(groups: Iterable[Group], align: int) -> Needs:
    """An upper bound of what the engine holds, from shapes alone."""
    always = pristine = 0
    for group in groups:
        numel = len(group.tensors) * prod(group.shape)
        pristine += numel * group.stored.itemsize
        always += numel * group.live.itemsize + 4 * len(group.dense) * prod(group.shape)
        if group.factors:
            rows, columns = group.shape
            pairs = len(group.tensors) * group.rank(align)
            width = max(p.down.element_size() for p in group.factors.values())
            sections = 1 if group.live.itemsize > 2 else 2 if width == 2 else 3
            always += pairs * (rows * width + columns * sections * group.live.itemsize)
    return Needs(always, pristine)


def place_pristine(
    needs: Needs, device: torch.device, *, limit: int | None, wanted: Mode | None
) -> Placement:
    """Choose the mode: `wanted`, else the device when both copies fit into `limit` bytes.

    `limit` None: what is free on a CUDA device less `RESERVE_BYTES`, and no limit elsewhere. Raises
    `DoesNotFit` when even the live weights and factors, or the mode asked for, do not fit.
    """
    if limit is None and device.type == "cuda":
        limit = max(torch.cuda.mem_get_info(device)[0] - RESERVE_BYTES, 0)
    both = needs.always + needs.pristine
    least = both if wanted == "device" else needs.always
    if limit is not None and least > limit:
        raise DoesNotFit(
            f"Live re-weighting needs {_gigabytes(least)} on {device}, and {_gigabytes(limit)} may be used.",
            hint="Use fewer adapters, mode 'host', or fuse on the CPU.",
        )
    if wanted is not None:
        return Placement(wanted, f"The pristine weights are kept on the {wanted}, as asked for.")
    if limit is None:
        return Placement("device", f"The pristine weights are kept on {device}, without a limit.")
    if both <= limit:
        why = f"{_gigabytes(both)} fit into the {_gigabytes(limit)} that may be used"
        return Placement("device", f"The pristine weights are kept on {device}: {why}.")
    why = f"{_gigabytes(both)} do not fit into the {_gigabytes(limit)} of {device} that may be used"
    return Placement("host", f"The pristine weights are kept on the host: {why}.")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
