"""`lorakit grid`: pictures over two or three axes, on one sheet and one page."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from lorakit.cli import render_options as given
from lorakit.cli.options import BaseName, Json, Quiet, StackText
from lorakit.cli.output import Output
from lorakit.errors import BadUsage
from lorakit.paths import expanded

EXAMPLE = 'lorakit grid "ink wash:0.5" --x strength:ink=0..1:0.25 --y seed=1-3 -p "a sea"'
_AXES = "Axes"


def grid_verb(
    stack: StackText = "",
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            metavar="AXIS",
            help="Columns: KIND=VALUES. KIND is strength, strength:ENTRY, adapter, adapter:ENTRY, "
            "seed, prompt, replace, cfg, steps, shift, denoise, size or base.",
            rich_help_panel=_AXES,
        ),
    ] = None,
    y: Annotated[
        str | None,
        typer.Option("--y", metavar="AXIS", help="Rows, the same way.", rich_help_panel=_AXES),
    ] = None,
    z: Annotated[
        str | None,
        typer.Option("--z", metavar="AXIS", help="Pages, the same way.", rich_help_panel=_AXES),
    ] = None,
    no_plain: Annotated[
        bool,
        typer.Option(
            "--no-plain", help="Leave out the pictures without adapters.", rich_help_panel=_AXES
        ),
    ] = False,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="What to render; name a style.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="A folder, new or of this same grid. Left out, the next grid-NNNN.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on with the grid in this folder."),
    ] = None,
    base: BaseName = None,
    negative: given.Negative = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Width and height. Left out, the recipe's."),
    ] = None,
    steps: given.Steps = None,
    cfg: given.Cfg = None,
    shift: given.Shift = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same noise everywhere.")] = 0,
    recipe: given.RecipeName = None,
    image: given.Image = None,
    denoise: given.Denoise = None,
    add_triggers: given.AddTriggers = False,
    strict: given.Strict = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much work it would be, and stop.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the transformer first: pays for large sheets."),
    ] = False,
    device: given.Device = "auto",
    components: given.Components = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Render a grid of pictures over strengths, adapters, seeds, prompts and more.

    Values are lists such as 0,0.5,1 or ranges such as 1-4 and 0..1:0.25.
    A | parts values that hold commas; prompt=@FILE reads prompts, one a line.
    The folder gets sheet.png, index.html to zoom and compare, and all pictures.
    Stopped, the same command goes on where it was.

    \b
    lorakit grid ink --x adapter=ink,wash,neon --y "prompt=a sea | a town, night"
    lorakit grid "ink:0.8" --x base=rdbt,anima --y seed=1-4 --z replace=sea,wood
    """
    from lorakit.cli.grid_run import dry_run_grid, run_grid
    from lorakit.cli.stack_argument import given_stack
    from lorakit.preview.grid.axes import Axis
    from lorakit.preview.grid.cells import Asked
    from lorakit.preview.grid.grid import GridRequest, check_request, read_request

    out = Output.of("grid", json, quiet)
    if resume is not None:
        if stack or x or y or z or output:
            raise BadUsage("--resume DIR goes on as the folder says; leave STACK, axes and -o out.")
        request, target = read_request(expanded(resume)), expanded(resume)
    else:
        found = given_stack(stack, out, base=base)
        asked = Asked(
            stack=found.stack,
            base=found.base,
            prompt=_only(prompt or [""]),
            negative=negative or "",
            size=None if size is None else given.parse_size(size),
            steps=steps,
            cfg=cfg,
            shift=shift,
            seed=seed,
            image=None if image is None else expanded(image),
            denoise=denoise,
        )
        request = GridRequest(
            asked,
            tuple(Axis.parse(text) for text in (x, y, z) if text is not None),
            plain=not no_plain,
            device=device,
            components=components,
            recipe=recipe,
            add_triggers=add_triggers,
        )
        check_request(request)
        target = _free_folder() if output is None else expanded(output)
    if dry_run:
        dry_run_grid(out.about("plan"), request, target, strict=strict)
        return
    run_grid(out, request, target, strict=strict, compiled=compiled)


def _only(prompts: list[str]) -> str:
    """Raise `BadUsage` for several: they are an axis."""
    if len(prompts) > 1:
        raise BadUsage(
            "Several prompts are an axis.",
            hint='Write --y "prompt=a sea | a town", or prompt=@FILE.',
        )
    return prompts[0]


def _free_folder() -> Path:
    """The first grid-NNNN that is not there yet."""
    names = (Path(f"grid-{number:04}") for number in count(1))
    return next(path for path in names if not path.exists())
