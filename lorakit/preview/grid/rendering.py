"""Rendering many pictures in the order that costs least: a base is opened once, a stack fused once."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.preview.grid.folder import WorkFolder
from lorakit.preview.grid.jobs import Job, in_order
from lorakit.preview.made_from import made_from
from lorakit.preview.unsound import UnsoundPicture
from lorakit.strengths import Strength

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorakit.preview.made_from import MadeFrom
    from lorakit.preview.session import Session

Opener = Callable[..., "Session"]


@dataclass(frozen=True)
class Watch:
    """Who is told what goes on: a stage by name, the number of steps of a job that are done, a notice in
    a sentence."""

    stage: Callable[[str], None] = lambda stage: None
    step: Callable[[Job, int], None] = lambda job, done: None
    notice: Callable[[str], None] = lambda sentence: None


NOBODY = Watch()


@dataclass(frozen=True)
class Rendered:
    """A picture with what it was made from; or, where its numbers left all range, why there is none."""

    job: Job
    image: Image | None
    origin: MadeFrom
    seconds: float
    problem: str | None = None


def render_jobs(
    jobs: Iterable[Job],
    *,
    device: str,
    compiled: bool = False,
    watch: Watch = NOBODY,
    opener: Opener | None = None,
) -> Iterator[Rendered]:
    """Render every distinct job, and give each picture as it is finished.

    One base is held at a time. A picture that comes out as NaN stops nothing: a grid of strengths often
    goes too far on purpose. Raises what `open_session` and `Renderer.render` raise otherwise.
    """
    if opener is None:
        from lorakit.preview.session import open_session

        opener = open_session
    for _, of_base in groupby(in_order(jobs), key=lambda job: job.base.path):
        yield from _render_base(list(of_base), device, compiled, watch, opener)
        # A session refers to itself, so its memory is free for the next base only now.
        gc.collect()


def _render_base(
    jobs: list[Job], device: str, compiled: bool, watch: Watch, opener: Opener
) -> Iterator[Rendered]:
    stacks = [list(group) for _, group in groupby(jobs, key=lambda job: job.stack_key)]
    first = jobs[0]
    session = opener(
        first.base.path,
        _entries(first),
        components=first.components,
        device=device,
        on_stage=watch.stage,
        on_notice=watch.notice,
        # Room for changing stacks is taken only where they change.
        union=None if len(stacks) == 1 else [e.path for job in jobs for e in job.entries],
    )
    if compiled:
        session.renderer.compile()
    session.renderer.keep_prompts(len(_prompts(jobs)))
    for number, stack in enumerate(stacks):
        if number:
            watch.stage("fusing the stack")
            session.restack(_entries(stack[0]))
        # Looking for what made a picture unsound takes passes of its own, so a stack is searched once.
        explained = ""
        for job in stack:
            rendered = _render(session, job, watch, explained)
            explained = rendered.problem or explained
            yield rendered


def _prompts(jobs: Iterable[Job]) -> set[str]:
    return {text for job in jobs for text in (job.settings.prompt, job.settings.negative_prompt)}


def _entries(job: Job) -> list[tuple[str | Path, float | Strength]]:
    return [(entry.path, entry.strength) for entry in job.entries]


def _render(session: Session, job: Job, watch: Watch, explained: str) -> Rendered:
    """One picture, or why there is none; `explained` is what was found of the same stack before."""
    from lorakit.preview.diagnosis import find_cause

    started = time.monotonic()
    image, problem = None, None
    try:
        image = session.renderer.render(job.settings, lambda done, total: watch.step(job, done))
    except UnsoundPicture as error:
        problem = explained
        if not problem:
            watch.stage("looking for what made the picture unsound")
            cause = find_cause(session, job.base.path, job.entries, job.settings, error)
            problem = f"{cause.sentence} {cause.hint}"
    seconds = time.monotonic() - started
    origin = made_from(job.base, job.entries, session, recipe=job.recipe)
    return Rendered(job, image, origin, seconds, problem)


def fill_folder(
    folder: WorkFolder,
    jobs: Mapping[str, Job],
    write: Callable[[Rendered, Path], None],
    *,
    device: str,
    compiled: bool = False,
    timed: bool = True,
    watch: Watch = NOBODY,
    on_picture: Callable[[str, Rendered], None] = lambda file, rendered: None,
    opener: Opener | None = None,
) -> dict[str, str]:
    """Render those of `jobs` (by file name) that `folder` lacks; `write` saves a picture at a path.

    With `timed` the manifest says how long each picture took.
    `on_picture` is called when a picture is in the folder, or has come to nothing. The result says of
    each file that could not be made why. Raises as `render_jobs`; what was made by then is kept.
    """
    files = {job.key: file for file, job in jobs.items() if not folder.holds(file, job.key)}
    missing = [job for job in jobs.values() if job.key in files]
    problems: dict[str, str] = {}
    for rendered in render_jobs(
        missing, device=device, compiled=compiled, watch=watch, opener=opener
    ):
        file = files[rendered.job.key]
        if rendered.problem is not None:
            problems[file] = rendered.problem
        else:
            seconds = rendered.seconds if timed else 0.0
            folder.save(file, rendered.job.key, seconds, partial(write, rendered))
        on_picture(file, rendered)
    return problems
