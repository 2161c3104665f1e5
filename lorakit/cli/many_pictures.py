"""What a person sees while many pictures are rendered: a bar, and once how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lorakit.cli.output import Output
from lorakit.counting import counted_rows

if TYPE_CHECKING:
    from lorakit.preview.grid.jobs import Job
    from lorakit.preview.grid.rendering import Rendered, Watch

_WORTH_SAYING = 5.0  # seconds of work left


@contextmanager
def watched(
    out: Output, jobs: Iterable[Job], called: str
) -> Iterator[tuple[Watch, Callable[[str, Rendered], None]]]:
    """A bar over the passes of `jobs`, each `called` "cell" or the like.

    Gives what `fill_folder` takes as `watch` and `on_picture`.
    """
    from lorakit.preview.grid.jobs import Load
    from lorakit.preview.grid.rendering import Watch

    load = Load.of(jobs)
    done = passes = 0

    with out.progress("Rendering") as update:

        def stage(what: str) -> None:
            update(passes, load.passes, what)

        def picture(file: str, rendered: Rendered) -> None:
            nonlocal done, passes
            done += 1
            passes += rendered.job.passes
            left = rendered.seconds / rendered.job.passes * (load.passes - passes)
            if done == 1 and left >= _WORTH_SAYING:
                out.say(
                    f"{counted_rows(load.pictures - 1, 'more picture')} will take {duration(left)}."
                )

        def step(job: Job, number: int) -> None:
            so_far = passes + job.passes * number // job.settings.steps_run
            update(so_far, load.passes, f"{called} {done + 1} of {load.pictures}")

        yield Watch(stage=stage, step=step, notice=out.warn), picture


def duration(seconds: float) -> str:
    """About how long, for a person."""
    if seconds < 90:
        return f"about {max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
