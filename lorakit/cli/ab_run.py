"""Rendering a comparison from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.many_pictures import watched
from lorakit.cli.output import Output
from lorakit.cli.preview_plan import require_extra
from lorakit.counting import counted_rows
from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.preview.ab.comparison import AbPlan, AbRequest
    from lorakit.preview.grid.folder import WorkFolder


def free_folder() -> Path:
    """The first ab-NNNN that is not there yet."""
    names = (Path(f"ab-{number:04}") for number in count(1))
    return next(path for path in names if not path.exists())


def run_ab(out: Output, request: AbRequest, path: Path, *, compiled: bool) -> None:
    """Render what is missing, write the page, and put the comparison into the catalog."""
    require_extra()
    from lorakit.cli.catalogs import open_catalog
    from lorakit.preview.ab.comparison import open_ab_folder, plan_ab
    from lorakit.preview.devices import choose_device

    request = replace(request, order_seed=_order_seed(path, request.order_seed))
    with open_catalog() as catalog, out.progress("Planning") as update:
        update(0, 0, "reading files")
        device = choose_device(request.how.device)
        plan = plan_ab(request, catalog, device)
    folder = open_ab_folder(path, request)
    try:
        problems = _render(out, plan, folder, device, compiled)
    except KeyboardInterrupt:
        done = len(plan.by_file()) - len(plan.missing(folder))
        folder.discard()
        out.say(f"Stopped: {done} of {counted_rows(len(plan.by_file()), 'picture')} finished.")
        if done:
            out.say(f"The same command with -o {path} goes on.")
        raise
    except BaseException:
        folder.discard()
        raise
    page = _write_page(plan, folder)
    with open_catalog() as catalog:
        catalog.record_comparison(
            plan.name,
            folder=str(path.absolute()),
            sides=plan.sides(),
            pairs=[(p.jobs[0].settings.prompt, p.jobs[0].settings.seed) for p in plan.pairs],
            blind=request.blind,
            order_seed=request.order_seed,
        )
    out.result(
        _document(plan, folder, page, problems),
        human=lambda console: _show(console, plan, folder, page),
        ids=[plan.name],
    )
    if problems:
        first = next(iter(problems))
        raise LorakitError(
            f"{counted_rows(len(problems), 'picture')} could not be made; {first}: {problems[first]}"
        )


def _order_seed(path: Path, wanted: int) -> int:
    """The seed that is asked for, else that of the folder, else a new one."""
    from lorakit.preview.ab.comparison import MANIFEST, read_ab_request

    if wanted >= 0:
        return wanted
    if (path / MANIFEST).is_file():
        return read_ab_request(path).order_seed
    from secrets import randbelow

    return randbelow(2**32)


def _render(
    out: Output, plan: AbPlan, folder: WorkFolder, device: str, compiled: bool
) -> dict[str, str]:
    from lorakit.preview.ab.comparison import render_ab

    with watched(out, plan.missing(folder), "picture") as (watch, on_picture):
        return render_ab(
            plan, folder, device=device, compiled=compiled, watch=watch, on_picture=on_picture
        )


def _write_page(plan: AbPlan, folder: WorkFolder) -> Path:
    from lorakit.preview.grid.folder import replace_file
    from lorakit.report.ab_page import ab_page

    page = folder.path / "index.html"
    replace_file(page, ab_page(plan, folder).encode())
    return page


def _document(
    plan: AbPlan, folder: WorkFolder, page: Path, problems: Mapping[str, str]
) -> dict[str, Any]:
    blind = plan.request.blind
    return {
        "comparison": plan.name,
        "folder": str(folder.path),
        "page": str(page),
        "blind": blind,
        # What a person reads before voting must not tell.
        "sides": None if blind else plan.sides(),
        "pairs": [
            {
                "pair": pair.number,
                "prompt": pair.jobs[0].settings.prompt,
                "seed": pair.jobs[0].settings.seed,
                "a": str(folder.pictures / pair.files[0]),
                "b": str(folder.pictures / pair.files[1]),
            }
            for pair in plan.pairs
        ],
        "problems": dict(problems),
    }


def _show(console: Console, plan: AbPlan, folder: WorkFolder, page: Path) -> None:
    first, second = plan.labels()
    console.print(f"{plan.name}: {counted_rows(len(plan.pairs), 'pair')}, {first} and {second}")
    console.print(str(page), soft_wrap=True)
    path = shlex.quote(str(folder.path))
    console.print(f"Vote there, or with `lorakit ab vote {path}`.", soft_wrap=True)
