"""Carrying out a grid from the command line: progress, interruption, and what is said at the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.many_pictures import duration, watched
from lorakit.cli.output import Mode, Output
from lorakit.cli.preview_kept import note_kept
from lorakit.cli.preview_plan import require_extra, require_no_advice
from lorakit.counting import counted_rows
from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.preview.advice import Advice
    from lorakit.preview.grid.folder import Made, WorkFolder
    from lorakit.preview.grid.grid import GridPlan, GridRequest
    from lorakit.preview.grid.jobs import Load


def dry_run_grid(out: Output, request: GridRequest, path: Path, *, strict: bool) -> None:
    """Say how much work the grid is, and how much of it is done already."""
    from lorakit.preview.grid.jobs import Load

    plan, made = _plan(out, request, path, strict)
    missing = plan.missing(made)
    load = Load.of(missing)
    seconds = _estimate(plan, made, load)
    cells, pictures = len(plan.layout.cells), len(plan.by_file())
    done = pictures - len(missing)
    document = {
        "folder": str(path),
        "cells": cells,
        "pictures": pictures,
        "finished": done,
        "to_do": asdict(load),
        "seconds": seconds,
        "advice": [asdict(advice) for advice in _advice(plan)],
    }

    def human(console: Console) -> None:
        console.print(
            f"{counted_rows(cells, 'cell')}, {counted_rows(pictures, 'different picture')}"
            + (f", {done} finished." if done else ".")
        )
        console.print(_work(load))
        if load.pictures and seconds is not None:
            console.print(f"At the pace of the finished ones that takes {duration(seconds)}.")
        elif load.pictures:
            console.print("How long that takes is known once a picture is finished.")

    out.result(document, human, ids=dict.fromkeys(plan.files))


def run_grid(
    out: Output, request: GridRequest, path: Path, *, strict: bool, compiled: bool
) -> None:
    """Render what is missing, write sheet and page, and say what there is."""
    require_extra()
    plan, _ = _plan(out, request, path, strict)
    from lorakit.preview.grid.grid import open_grid_folder

    folder = open_grid_folder(path, plan.request)
    before = set(folder.made)
    try:
        problems = _render(out, plan, folder, compiled)
    except KeyboardInterrupt:
        _stopped(out, plan, folder)
        raise
    except BaseException:
        folder.discard()
        raise
    finally:
        fresh = [file for file in folder.made if file not in before]
        _note(plan, folder, fresh)
    sheet = _finish(out, plan, folder, problems)
    out.result(
        _document(plan, folder, problems, sheet, fresh),
        human=lambda console: _show(console, plan, folder, sheet, len(fresh)),
        ids=[str(folder.pictures / file) for file in dict.fromkeys(plan.files)],
    )
    if problems:
        first = next(iter(problems))
        raise LorakitError(
            f"{len(problems)} of {counted_rows(len(plan.by_file()), 'picture')} could not be made; of "
            f"{first}: {problems[first]}",
            hint="The others are there.",
        )


def _plan(
    out: Output, request: GridRequest, path: Path, strict: bool
) -> tuple[GridPlan, dict[str, Made]]:
    """The plan, and what is there of it in the folder at `path`; advice is said."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.preview.grid.grid import peek_grid_folder, plan_grid, with_names

    with open_catalog() as catalog, out.progress("Planning") as update:
        request = with_names(request, catalog)
        made = peek_grid_folder(path, request)
        update(0, 0, "loading PyTorch")
        from lorakit.preview.devices import choose_device

        device = choose_device(request.device)
        update(0, 0, "reading files")
        plan = plan_grid(request, catalog, device)
    advice = _advice(plan)
    if strict:
        require_no_advice(advice)
    if out.mode is not Mode.JSON:
        for one in advice:
            out.advise(str(one))
    return plan, made


def _advice(plan: GridPlan) -> tuple[Advice, ...]:
    """What to know of the pictures with adapters; of those without, where there are no others."""
    from lorakit.preview.advice import advise
    from lorakit.preview.recipes import stacked

    stacks = [job for job in plan.jobs if job.entries] or list(plan.jobs)
    found = (
        advice
        for job in stacks
        for advice in advise(job.recipe, job.settings, stacked(job.entries))
    )
    return tuple(dict.fromkeys(found))


def _render(out: Output, plan: GridPlan, folder: WorkFolder, compiled: bool) -> dict[str, str]:
    from lorakit.preview.grid.grid import render_grid

    with watched(out, plan.missing(folder.made), "cell") as (watch, on_picture):
        return render_grid(plan, folder, compiled=compiled, watch=watch, on_picture=on_picture)


def _finish(
    out: Output, plan: GridPlan, folder: WorkFolder, problems: Mapping[str, str]
) -> Path | None:
    from lorakit.preview.grid.finishing import write_sheet
    from lorakit.preview.grid.folder import replace_file
    from lorakit.report.grid_page import grid_page

    with out.progress("Finishing") as update:
        update(0, 0, "drawing the sheet")
        sheet = write_sheet(plan, folder, problems)
        update(0, 0, "writing the page")
        page = grid_page(plan, folder, problems)
        replace_file(page_path(folder), page.encode())
    if sheet is None:
        out.warn("The grid has too many cells for one picture; the page shows them all.")
    return sheet


def page_path(folder: WorkFolder) -> Path:
    """Where the page is."""
    return folder.path / "index.html"


def _stopped(out: Output, plan: GridPlan, folder: WorkFolder) -> None:
    """Leave a sheet and a page of what is there, and say how to go on."""
    finished = len(plan.by_file()) - len(plan.missing(folder.made))
    if not finished:
        folder.discard()
        out.say("Stopped before the first picture was finished.")
        return
    # The signal may have come while the manifest was written.
    folder.write()
    _finish(out, plan, folder, {})
    out.say(f"Stopped: {finished} of {counted_rows(len(plan.by_file()), 'picture')} finished.")
    out.say(f"`lorakit grid --resume {shlex.quote(str(folder.path))}` goes on.")


def _note(plan: GridPlan, folder: WorkFolder, fresh: list[str]) -> None:
    """Note the new pictures with the kept stacks that they were made with."""
    jobs = plan.by_file()
    note_kept(
        {
            folder.pictures / file: [
                (frozenset({entry.sha256, entry.tensor_sha256}), entry.strength)
                for entry in jobs[file].entries
            ]
            for file in fresh
            if file in jobs
        }
    )


def _document(
    plan: GridPlan,
    folder: WorkFolder,
    problems: Mapping[str, str],
    sheet: Path | None,
    fresh: list[str],
) -> dict[str, Any]:
    from lorakit.preview.grid.jobs import Load
    from lorakit.preview.grid.words import stack_of

    layout = plan.layout
    cells = [
        {
            "column": layout.columns[cell.column].label,
            "row": layout.rows[cell.row].label,
            "page": layout.pages[cell.page].label,
            "path": str(folder.pictures / file),
            "base": job.base.name,
            "stack": str(stack_of(job)),
            "settings": job.settings.to_dict(),
            "rendered": file in fresh,
            "problem": problems.get(file),
        }
        for cell, job, file in zip(layout.cells, plan.jobs, plan.files, strict=True)
    ]
    return {
        "folder": str(folder.path),
        "sheet": None if sheet is None else str(sheet),
        "page": str(page_path(folder)),
        "device": plan.device,
        "axes": [asdict(axis) for axis in layout.axes],
        "rendered": asdict(Load.of(plan.by_file()[file] for file in fresh)),
        "cells": cells,
        "advice": [asdict(advice) for advice in _advice(plan)],
    }


def _show(
    console: Console, plan: GridPlan, folder: WorkFolder, sheet: Path | None, fresh: int
) -> None:
    count = len(plan.by_file())
    kept = f", {count - fresh} there before" if fresh < count else ""
    console.print(f"{counted_rows(count, 'picture')}, {fresh} rendered now{kept}  ({plan.device})")
    for path in filter(None, (sheet, page_path(folder))):
        console.print(str(path), soft_wrap=True)


def _work(load: Load) -> str:
    if not load.pictures:
        return "Nothing is left to do."
    return (
        f"To do: {counted_rows(load.pictures, 'picture')}, {counted_rows(load.bases, 'base')} loaded, "
        f"{counted_rows(load.fuses, 'stack')} fused, {counted_rows(load.prompts, 'prompt')}, "
        f"{load.passes} passes of the transformer."
    )


def _estimate(plan: GridPlan, made: Mapping[str, Made], load: Load) -> float | None:
    """Seconds for `load` at the pace of the pictures that are there; None without any."""
    jobs = plan.by_file()
    there = [(made[file].seconds, jobs[file].passes) for file in jobs if file in made]
    passes = sum(count for _, count in there)
    return sum(seconds for seconds, _ in there) / passes * load.passes if passes else None
