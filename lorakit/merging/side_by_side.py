"""Work on many weights, several at a time, in the order in which it was given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

import torch

from lorakit.fusion.parallel import MOST_CORES, one_core_each

T = TypeVar("T")


def side_by_side(jobs: Iterable[tuple[Callable[[], T], bool]]) -> Generator[T, None, None]:
    """What every job of `jobs` gives, in their order, a few ahead of the consumer.

    A job is a function and whether it is small. Small ones have one core each, so that their arithmetic,
    and every bit of it, is the same however many cores there are; a large one has all of them to itself.
    """
    cores = min(torch.get_num_threads(), MOST_CORES)
    if cores < 2:
        yield from (_without_gradients(job) for job, _ in jobs)
        return
    ahead: deque[tuple[Callable[[], T], Future[T] | None]] = deque()
    with one_core_each(cores) as pool:
        for job, small in jobs:
            ahead.append((job, pool.submit(_without_gradients, job) if small else None))
            if len(ahead) > cores + 1:
                yield _done(*ahead.popleft())
        while ahead:
            yield _done(*ahead.popleft())


def _done(job: Callable[[], T], ready: Future[T] | None) -> T:
    return ready.result() if ready else _without_gradients(job)


def _without_gradients(job: Callable[[], T]) -> T:
    with torch.no_grad():
        return job()
