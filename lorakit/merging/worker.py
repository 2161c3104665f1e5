"""A process that does jobs for another one, and ends with it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Event, current_thread, main_thread
from typing import Generic, TypeVar

import torch

from lorakit.errors import LorakitError
from lorakit.gate.derived import Progress

T = TypeVar("T")
_LOGGER = "lorakit"


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a job gave, or its error, and the warnings that were logged elsewhere."""

    found: T | LorakitError
    warnings: tuple[str, ...] = ()

    def told(self) -> T | LorakitError:
        """What was found; the warnings are logged here."""
        for warning in self.warnings:
            logging.getLogger(_LOGGER).warning("%s", warning)
        return self.found


@dataclass(frozen=True)
class Worker:
    """A process that waits for jobs once it is `ready`."""

    process: BaseProcess
    connection: Connection
    ready: Event = field(default_factory=Event)

    def wait(self) -> None:
        """Wait until it has imported what it needs. Raises `OSError` or `EOFError` if it died."""
        self.connection.recv()
        self.ready.set()

    def run(self, job: Callable[[Progress], T], cores: int) -> Outcome[T] | None:
        """Have it done with so many cores, and wait; None if the process was stopped.

        Raises `OSError` or `EOFError` if it died.
        """
        self.connection.send((job, cores))
        found: Outcome[T] | None = self.connection.recv()
        return found

    def stop(self) -> None:
        """Let it leave what it does, if anything, and end."""
        if not self.ready.is_set():
            # It has no job yet, and hears nothing for a second or two.
            self.process.kill()
            return
        with suppress(OSError):
            self.connection.send(None)

    def close(self) -> None:
        """Wait for its end."""
        self.connection.close()
        self.process.join()
        self.process.close()


def start_worker() -> Worker:
    """A new process. Raises `OSError` where none can be started."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _uninterrupted():
        process.start()
    theirs.close()
    return Worker(process, ours)


def attempt(job: Callable[[Progress], T], cores: int, watch: Progress) -> Outcome[T]:
    """The outcome of a job with so many cores, which is handed `watch`; its known errors are results, too."""
    torch.set_num_threads(cores)
    try:
        watch(0, 0, "")
        return Outcome(job(watch))
    except LorakitError as error:
        return Outcome(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return Outcome(LorakitError(f"{where}{error.strerror or error}."))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started inside ignores Ctrl-C from its first moment: who started it says when to stop."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch(done: int, total: int, what: str) -> None:
        # While a job is done nothing comes but word to stop, or the end of who would send it.
        if connection.poll():
            raise KeyboardInterrupt

    # Whoever is gone waits for no answer.
    with suppress(EOFError, OSError):
        connection.send(None)
        while (given := connection.recv()) is not None:
            job, cores = given
            connection.send(_done(job, cores, watch))
    # Whatever was open is closed. To take down the interpreter would take half a second.
    os._exit(0)


def _done(job: Callable[[Progress], T], cores: int, watch: Progress) -> Outcome[T] | None:
    """The outcome of a job; None for one that was stopped."""
    said: list[str] = []
    handler = _Listening(said)
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(handler)
    try:
        return Outcome(attempt(job, cores, watch).found, tuple(said))
    except KeyboardInterrupt:
        return None
    finally:
        logger.removeHandler(handler)


class _Listening(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())
