"""Weights fused side by side on a CPU, each by one core.

A core that has a weight to itself keeps it in its cache and waits for no other, and fresh memory is
made ready on all cores at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.patches import Patch, fuse_weight

# Memory's speed, which a few cores take up, is the limit; and each has a weight in the works.
MOST_CORES = 8

# Just under the most that glibc goes up to.
_KEPT_BYTES = 31 << 20
_CPU = torch.device("cpu")


def fuse_in_turn(
    base: BaseTensors,
    patched: Mapping[str, Sequence[Patch]],
    dtype: torch.dtype | None,
    dora: DoraFormula = "trainer",
) -> Generator[tuple[str, torch.Tensor], None, None]:
    """(key, fused weight) in the order of `patched`, a few weights ahead of the consumer.

    Weights with patches of full rank, which need much memory, are fused one at a time. Raises as
    `fuse_weight` does.
    """

    def fused(key: str) -> torch.Tensor:
        wanted = dtype or base.kept_dtype(key)
        with torch.no_grad():
            return fuse_weight(base.exact(key), patched[key], _CPU, wanted, dora)

    cores = min(torch.get_num_threads(), MOST_CORES, len(patched))
    if cores < 2:
        yield from ((key, fused(key)) for key in patched)
        return
    ahead: deque[tuple[str, Future[torch.Tensor] | None]] = deque()
    with one_core_each(cores) as pool:
        for key, patches in patched.items():
            thin = all(patch.module.low_rank() is not None for patch in patches)
            ahead.append((key, pool.submit(fused, key) if thin else None))
            if len(ahead) > cores + 1:
                first, ready = ahead.popleft()
                yield first, ready.result() if ready else fused(first)
        while ahead:
            first, ready = ahead.popleft()
            yield first, ready.result() if ready else fused(first)


@contextmanager
def one_core_each(cores: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which PyTorch does not share its work among further threads."""
    # The C library keeps what is freed for the next request only up to the largest block that was
    # ever freed; otherwise every weight's factors would come in fresh pages.
    torch.empty(_KEPT_BYTES, dtype=torch.uint8)
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, "fuse", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        # What a thread sets is also what threads made later start with.
        torch.set_num_threads(before)
