"""Memory for large results, in pages of 2 MB where the system has them.

A fuse fills gigabytes of fresh memory once. In the usual pages of 4 kB that is a million page faults,
which take longer than the arithmetic.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from math import prod

import torch

_HUGE_PAGE = 2 << 20
_WORTH_IT = 2 * _HUGE_PAGE


def empty_result(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor on the CPU; the memory goes back to the system with it."""
    size = prod(shape) * dtype.itemsize
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if size < _WORTH_IT or advice is None:
        return torch.empty(shape, dtype=dtype)
    # One page more than is needed, so that the tensor can start at the start of one.
    memory = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # A kernel without huge pages refuses; small ones hold the same numbers.
    with suppress(OSError):
        memory.madvise(advice)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    start = -whole.data_ptr() % _HUGE_PAGE
    return whole[start : start + size].view(dtype).view(shape)
