"""Several files at a time: while one is read, hashed or written, others are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Event
from typing import TypeVar

import torch

from lorakit.errors import LorakitError
from lorakit.fusion.parallel import MOST_CORES, one_core_each
from lorakit.gate.derived import Progress

T = TypeVar("T")

# A file in the works takes some three times its size in memory.
_MOST_BYTES = 1 << 30


def each_file(
    jobs: Sequence[Callable[[Progress], T]], largest: int, *, cores: int | None = None
) -> Generator[T | LorakitError, None, None]:
    """What every job gives, or its `LorakitError`, in order; `largest` is the size of the largest file in bytes.

    Each of the jobs at work has its share of the `cores` (None: those that PyTorch would use), and since
    arithmetic in the workshop does not depend on their number, gives the bytes that it gives alone. A job
    is handed a progress to call. When the consumer breaks off, as at Ctrl-C, that raises in every job, which
    leaves what it has begun.
    """
    cores = cores or min(torch.get_num_threads(), MOST_CORES)
    at_once = max(1, min(cores, len(jobs), _MOST_BYTES // max(largest, 1)))
    if at_once == 1:
        yield from (_tried(job, Event()) for job in jobs)
        return
    stopped = Event()
    # Those at the end that leave cores without a file share them.
    last = len(jobs) % at_once
    ahead: deque[Future[T | LorakitError]] = deque()
    with one_core_each(at_once) as pool:
        try:
            for number, job in enumerate(jobs):
                share = cores // (at_once if number < len(jobs) - last else last)
                ahead.append(pool.submit(_on_cores, share, partial(_tried, job, stopped)))
            while ahead:
                yield ahead.popleft().result()
        finally:
            stopped.set()


def _on_cores(count: int, work: Callable[[], T]) -> T:
    torch.set_num_threads(count)
    return work()


def _tried(job: Callable[[Progress], T], stopped: Event) -> T | LorakitError:
    def watch(done: int, total: int, what: str) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    try:
        watch(0, 0, "")
        return job(watch)
    except LorakitError as error:
        return error
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return LorakitError(f"{where}{error.strerror or error}.")
