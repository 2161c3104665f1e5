"""The progress bar: on stderr, only for work of more than a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lorakit.cli.output import Progress as Update

_QUIET_SECONDS = 1.0


@contextmanager
def bar(title: str) -> Iterator[Update]:
    """Give a function (done, total, what) that draws the bar, first after a second of work."""
    started = time.monotonic()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task(title, total=None, what="")

    def update(done: int, total: int, what: str) -> None:
        if not progress.live.is_started and time.monotonic() - started > _QUIET_SECONDS:
            progress.start()
        progress.update(task, completed=done, total=total, what=what)

    try:
        yield update
    finally:
        if progress.live.is_started:
            progress.stop()
