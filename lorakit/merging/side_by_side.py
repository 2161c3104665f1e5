"""Work on many weights, several at a time, in the order in which it was given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

import torch

from lorakit.fusion.parallel import MOST_CORES, one_core_each

T = TypeVar("T")


def side_by_side(
    jobs: Iterable[Callable[[], T]], *, cores: int | None = None
) -> Generator[T, None, None]:
    """What every job of `jobs` gives, in their order, a few ahead of the consumer.

    Each job has one core, so that its arithmetic, to the last bit, is the same however many there
    are. `cores` is how many work at a time, None for those that PyTorch would use; with 1, a job has what
    PyTorch gives it. What a job raises is raised here.
    """
    cores = cores or min(torch.get_num_threads(), MOST_CORES)
    if cores < 2:
        yield from map(_without_gradients, jobs)
        return
    ahead: deque[Future[T]] = deque()
    with one_core_each(cores) as pool:
        for job in jobs:
            ahead.append(pool.submit(_without_gradients, job))
            if len(ahead) > cores + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _without_gradients(job: Callable[[], T]) -> T:
    with torch.no_grad():
        return job()
