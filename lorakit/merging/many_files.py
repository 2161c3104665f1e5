"""Several files at a time: this process takes one after another, and so do others beside it.

An adapter is some hundred small matrices, between which Python's lock is held: threads would wait for one
another a good part of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import torch

from lorakit.errors import LorakitError
from lorakit.fusion.parallel import MOST_CORES
from lorakit.gate.derived import Progress
from lorakit.merging.worker import Outcome, Worker, attempt, start_worker

T = TypeVar("T")
Job = Callable[[Progress], T]

# A file in the works takes some three times its size in memory.
_MOST_BYTES = 1 << 30
# A process begins by importing PyTorch, for a second and a half: about as long as one core works on this.
_WORTH_BYTES = 200 << 20


def each_file(
    jobs: Sequence[Job[T]],
    sizes: Sequence[int],
    ended: Callable[[int, T | LorakitError], None],
    *,
    cores: int | None = None,
) -> None:
    """Run all jobs, and call `ended` with the place of each and what it gave, or its `LorakitError`.

    `sizes` are those of the files in bytes, by which is chosen how many are worked on at a time; each has its
    share of the `cores` (None: those that PyTorch would use), and since arithmetic in the workshop does
    not depend on their number, gives the bytes that it gives alone. Jobs and what they give are pickled. They
    are handed a progress to call. When this process is interrupted, as by Ctrl-C, that raises in every job,
    which leaves what it has begun; `ended` has then been called for all that were done.
    """
    cores = cores or min(torch.get_num_threads(), MOST_CORES)
    room = min(_MOST_BYTES // max([1, *sizes]), sum(sizes) // _WORTH_BYTES)
    at_once = max(1, min(cores, len(jobs), room))
    todo = _Todo(jobs, cores // at_once, cores)
    done: SimpleQueue[tuple[int, Outcome[T]] | None] = SimpleQueue()
    count = 0

    def tell(*, wait: bool) -> None:
        nonlocal count
        while wait or not done.empty():
            found = done.get()
            wait = False
            if found is not None:
                count += 1
                ended(found[0], found[1].told())

    try:
        with _own_cores(), _beside(at_once - 1, todo, done):
            while count < len(jobs):
                one = todo.take()
                if one is None:
                    tell(wait=True)
                else:
                    outcome = attempt(one.job, one.cores, lambda *_: tell(wait=False))
                    done.put((one.number, outcome))
                    tell(wait=False)
    finally:
        tell(wait=False)


@dataclass(frozen=True)
class _One(Generic[T]):
    number: int
    job: Job[T]
    cores: int


class _Todo(Generic[T]):
    """Jobs that nobody has taken. The last one has all the cores: the others will soon be free."""

    def __init__(self, jobs: Sequence[Job[T]], cores: int, all_cores: int) -> None:
        ones = [_One(number, job, cores) for number, job in enumerate(jobs)]
        ones[-1:] = [replace(one, cores=all_cores) for one in ones[-1:]]
        self._ones = deque(ones)

    def take(self) -> _One[T] | None:
        """The next one, None without any."""
        try:
            return self._ones.popleft()
        except IndexError:
            return None

    def put_back(self, one: _One[T]) -> None:
        """Leave it to others."""
        self._ones.append(one)

    def clear(self) -> None:
        """Nobody is to take another."""
        self._ones.clear()


@contextmanager
def _own_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _beside(
    count: int, todo: _Todo[T], done: SimpleQueue[tuple[int, Outcome[T]] | None]
) -> Iterator[None]:
    """Processes that take from `todo` and put into `done`, where None says to look at `todo` again."""
    workers: list[Worker] = []
    drivers: list[Thread] = []
    try:
        # Where none can be started, this process does it all.
        with suppress(OSError, ImportError):
            for _ in range(count):
                workers.append(start_worker())
        drivers += [Thread(target=_drive, args=(one, todo, done), daemon=True) for one in workers]
        for driver in drivers:
            driver.start()
        yield
    finally:
        todo.clear()
        for worker in workers:
            worker.stop()
        for driver in drivers:
            driver.join()
        for worker in workers:
            worker.close()


def _drive(
    worker: Worker, todo: _Todo[T], done: SimpleQueue[tuple[int, Outcome[T]] | None]
) -> None:
    """Give a process one job after another; one that it dies of is left to the others."""
    try:
        worker.wait()
    except (OSError, EOFError):
        return
    while (one := todo.take()) is not None:
        try:
            outcome = worker.run(one.job, one.cores)
        except (OSError, EOFError):
            todo.put_back(one)
            done.put(None)
            return
        if outcome is None:
            return
        done.put((one.number, outcome))
