"""The progress bar: on stderr, only for work of more than a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

from lorakit.cli.output import Progress as Update
from lorakit.cli.output import visible

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET_SECONDS = 1.0
_WHAT_WIDTH = 28  # with the rest, one line of 80 columns


@contextmanager
def bar(title: str) -> Iterator[Update]:
    """Give a function (done, total, what) that moves the bar; a total of 0 means it is not known.

    A timer shows the bar, so that it also comes when the first step takes long.
    """
    shown = _Bar(title)
    timer = Timer(_QUIET_SECONDS, shown.start)
    timer.daemon = True
    timer.start()
    try:
        yield shown.update
    finally:
        timer.cancel()
        shown.stop()


class _Bar:
    """A bar that remembers the latest news until it is shown."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._latest = (0, 0, "")
        self._progress: Progress | None = None
        self._over = False
        self._lock = Lock()

    def update(self, done: int, total: int, what: str) -> None:
        with self._lock:
            self._latest = (done, total, what)
            self._draw()

    def start(self) -> None:
        # Drawing tools are imported only by work that lasts.
        progress = _new_progress()
        with self._lock:
            if self._over:
                return
            self._progress = progress
            progress.add_task(self._title, total=None, what="")
            self._draw()
            progress.start()

    def stop(self) -> None:
        with self._lock:
            self._over = True
            if self._progress is not None:
                self._progress.stop()

    def _draw(self) -> None:
        if self._progress is None:
            return
        from rich.text import Text

        done, total, what = self._latest
        label = Text(visible(what))
        label.truncate(_WHAT_WIDTH, overflow="ellipsis")
        self._progress.update(
            self._progress.task_ids[0], completed=done, total=total or None, what=label.plain
        )


def _new_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeLeft(),
        # A file's name may look like markup.
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
