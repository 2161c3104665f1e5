"""PyTorch on one core, for work in pieces too small to be shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_core() -> Iterator[None]:
    """Within it PyTorch works in the calling thread alone.

    A few values of a module, or a thin factor of it, are done in less time than threads need to meet. Where
    other programs run beside it they wait for each other: for ten times as long, with all cores busy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
