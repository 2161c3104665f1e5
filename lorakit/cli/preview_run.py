"""Rendering planned pictures one after the other, and saying what there is to say about them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.output import Mode, Output, console, write_line
from lorakit.cli.preview_kept import note_kept
from lorakit.cli.preview_plan import require_no_advice
from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorakit.cli.preview_plan import Plan
    from lorakit.preview.made_from import MadeFrom
    from lorakit.preview.session import Session
    from lorakit.preview.settings import RenderSettings


def check_files(files: Sequence[Path], force: bool) -> None:
    """Raise what `check_target` raises for any of `files`."""
    from lorakit.preview.picture import check_target

    for path in files:
        check_target(path, overwrite=force)


def say_advice(out: Output, plan: Plan, strict: bool) -> None:
    """Say each remark and each advice once; with `strict`, raise for advice."""
    if out.mode is not Mode.JSON:
        for remark in plan.remarks:
            out.warn(remark)
    if strict:
        require_no_advice(plan.advice)
    if out.mode is not Mode.JSON:
        for advice in plan.advice:
            out.advise(str(advice))
    steps = plan.pictures[0].steps
    for entry in plan.entries:
        if not any(map(entry.strength.active, range(steps))):
            out.warn(f"{entry.name} is never applied: {entry.strength} names no step of {steps}.")


def shows(out: Output, wanted: bool | None) -> bool:
    """Whether pictures are shown in the terminal; says why not, where it was asked for."""
    if wanted is False or out.mode is not Mode.HUMAN:
        return False
    from lorakit.cli.terminal import why_not_shown

    reason = why_not_shown()
    if wanted and reason:
        out.warn(f"The picture is not shown: {reason}.")
    return reason is None


def finish(out: Output, document: dict[str, Any]) -> None:
    """Write the JSON document; the other modes have had each path as it was finished."""
    if out.mode is Mode.JSON:
        out.result(document, human=lambda console: None)


def run_plan(
    out: Output,
    plan: Plan,
    files: Sequence[Path],
    *,
    device: str,
    components: str | None,
    compiled: bool,
    force: bool,
    show: bool,
) -> dict[str, Any]:
    """Render the pictures of `plan` into `files`, and give what was made as JSON takes it.

    Paths are written out as the pictures are finished. A picture whose path has been taken since
    `check_files` gets the next free one. Ctrl-C keeps what is finished, says how much that is, and
    goes on to the caller.
    """
    from lorakit.preview.made_from import start_base_hash
    from lorakit.preview.picture import save_picture, versions

    finished: list[dict[str, Any]] = []
    _check_starting_image(plan)
    complete = start_base_hash(plan.base)
    try:
        session, origin = _open(out, plan, device, components, compiled)
        remarks = (*plan.remarks, *_differences(out, plan, origin))
        for number, (settings, path) in enumerate(zip(plan.pictures, files, strict=True), start=1):
            started = time.monotonic()
            image = _render(out, session, plan, settings, f"{number} of {len(files)}")
            seconds = time.monotonic() - started
            renderer = session.renderer
            origin = replace(complete(origin), saving=renderer.saving, compiled=renderer.compiled)
            path = path if force else _still_free(out, path)
            save_picture(image, path, settings, origin, overwrite=force)
            finished.append(
                {"path": str(path), "settings": settings.to_dict(), "seconds": round(seconds, 3)}
            )
            _announce(out, path, session.device)
            show = show and _show(out, image)
    except KeyboardInterrupt:
        if len(files) > 1:
            out.say(f"Stopped: {len(finished)} of {len(files)} pictures finished.")
        raise
    finally:
        if finished:
            fused = [(frozenset({e.sha256, e.tensor_sha256}), e.strength) for e in origin.entries]
            note_kept({Path(one["path"]): fused for one in finished})
    return {
        **origin.to_dict(),
        "versions": versions(),
        "remarks": list(remarks),
        "pictures": finished,
    }


def _check_starting_image(plan: Plan) -> None:
    """Raise what reading it raises, before gigabytes are loaded."""
    one = plan.pictures[0]
    if one.image is not None:
        from lorakit.preview.starting_image import read_starting_image

        read_starting_image(one.image, one.width, one.height)


def _open(
    out: Output, plan: Plan, device: str, components: str | None, compiled: bool
) -> tuple[Session, MadeFrom]:
    with out.progress("Loading") as update:
        update(0, 0, "loading PyTorch")
        from lorakit.preview.devices import choose_device
        from lorakit.preview.made_from import made_from
        from lorakit.preview.session import open_session

        chosen = choose_device(device)
        session = open_session(
            plan.base.path,
            [(entry.path, entry.strength) for entry in plan.entries],
            components=components or plan.base.components,
            device=chosen,
            on_stage=lambda stage: update(0, 0, stage),
            on_notice=out.warn,
        )
        if compiled:
            session.renderer.compile()
        update(0, 0, "hashing the stack")
        return session, made_from(
            plan.base, plan.entries, session, recipe=plan.recipe, advice=plan.advice
        )


def _differences(out: Output, plan: Plan, origin: MadeFrom) -> tuple[str, ...]:
    """Why a picture that is made again may differ, which is known once it is known what renders it."""
    if plan.made is None:
        return ()
    from lorakit.preview.picture import versions
    from lorakit.preview.remake import differences

    here = {
        **versions(),
        "device": origin.device,
        "dtype": origin.dtype,
        "saving": ", ".join(origin.saving),
        "compiled": "yes" if origin.compiled else "no",
    }
    found = differences(plan.made, here)
    if out.mode is not Mode.JSON:
        for remark in found:
            out.warn(remark)
    return found


def _render(
    out: Output, session: Session, plan: Plan, settings: RenderSettings, which: str
) -> Image:
    from lorakit.preview.diagnosis import render_or_explain

    with out.progress("Rendering" if which == "1 of 1" else f"Picture {which}") as update:
        update(0, settings.steps_run, "denoising")
        return render_or_explain(
            session,
            plan.base.path,
            plan.entries,
            settings,
            lambda done, total: update(done, total, "denoising"),
        )


def _still_free(out: Output, path: Path) -> Path:
    """`path`, or the next one by number where another program has taken it meanwhile."""
    if not path.exists():
        return path
    stem = re.sub(r"-\d{4}$", "", path.stem)
    paths = (path.with_name(f"{stem}-{number:04}{path.suffix}") for number in count(1))
    free = next(other for other in paths if not other.exists())
    out.warn(f"{path} was written by something else meanwhile; the picture is {free}.")
    return free


def _show(out: Output, image: Image) -> bool:
    """Show the picture; False, after a warning, in a terminal where that fails."""
    from lorakit.cli.terminal import show_picture

    try:
        show_picture(image)
    except LorakitError as error:
        out.warn(error.message)
        return False
    return True


def _announce(out: Output, path: Path, device: str) -> None:
    """The path, at once: a long run is watched, or read by a pipe."""
    if out.mode is Mode.QUIET:
        write_line(str(path))
    elif out.mode is Mode.HUMAN:
        console().print(f"{path}  ({device})", soft_wrap=True)
    sys.stdout.flush()
