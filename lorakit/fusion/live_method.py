"""Which way of multiplying an engine uses: the library's, or the fused kernel where that is asked for."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

from lorakit.adapters.adapter import LowRank
from lorakit.errors import NotFusable
from lorakit.fusion.live_factors import Method, stack_factors
from lorakit.fusion.live_groups import Group


def pick_method(group: Group, device: torch.device, wanted: Method | None) -> Method:
    """`wanted` where the group's weights allow it, else `baddbmm`.

    The fused kernel stays a choice by name until it has been measured on a GPU; it does not run on
    `device` at all where `kernel_problem` names a reason.
    """
    fusable = group.stored == torch.bfloat16 and len(group.shape) == 2
    if wanted != "fused" or not fusable:
        return "baddbmm"
    if device.type == "cuda" and (problem := kernel_problem(device)):
        raise NotFusable(f"The fused kernel cannot be used on {device}: {problem}.")
    return "fused"


@cache
def kernel_problem(device: torch.device) -> str | None:
    """Why the fused kernel cannot be used on `device`, or None. Compiles it and checks a product.

    Compiling needs a C compiler and a driver that fit, so only running it tells.
    """
    if find_spec("triton") is None:
        return "Triton is not installed"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than compute capability 8.0"
    try:
        return None if _kernel_is_right(device) else "the kernel gave a wrong product"
    # Whatever a compiler raises here, the library's way still works.
    except Exception as error:
        return f"the kernel does not run: {error}"


def _kernel_is_right(device: torch.device) -> bool:
    from lorakit.fusion.live_kernel import fuse_rows

    right = True
    generator = torch.Generator().manual_seed(0)
    # One shape that whole tiles cover and one that they do not: the kernel's two forms.
    for height, width in ((128, 128), (72, 40)):
        up, down = (torch.randn(s, generator=generator) for s in ((height, 16), (16, width)))
        pair = LowRank(up, down, 0.25)
        group = Group("", ("",), (height, width), torch.bfloat16, {(0, 0): pair}, {})
        factors = stack_factors(group, device, "fused")
        pristine = torch.randn(1, height, width, generator=generator).to(device, torch.bfloat16)
        live = torch.full_like(pristine, float("nan"))
        fuse_rows(pristine, live, factors, factors.scale, slice(0, 1))
        wanted = pristine[0].cpu().double() + 0.25 * up.double() @ down.double()
        error = (live[0].cpu().double() - wanted).norm()
        ideal = (wanted.bfloat16().double() - wanted).norm()
        right = right and bool(error <= 1.02 * ideal)
    return right
