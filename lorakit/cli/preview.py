"""`lorakit preview`: pictures of a stack on a base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorakit.cli import render_options as given
from lorakit.cli.options import BaseName, Force, Json, Quiet, StackText
from lorakit.cli.output import Output
from lorakit.cli.preview_dry import show_plan
from lorakit.cli.preview_plan import Plan, Wanted, plan_pictures, require_extra, targets
from lorakit.cli.preview_run import check_files, finish, run_plan, say_advice, shows
from lorakit.errors import BadUsage

EXAMPLE = 'lorakit preview "ink:0.8 wash:0.5" --base rdbt -p "@ink, a lighthouse" -o out.png'


def preview_verb(
    stack: StackText = "",
    prompt: given.Prompts = None,
    prompts: given.PromptFile = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The .png to write; several become NAME-0001.png, ... Left out, the next "
            "preview-NNNN.png.",
        ),
    ] = None,
    base: BaseName = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PICTURE",
            help="Make this picture or recipe again; options change it.",
        ),
    ] = None,
    negative: given.Negative = None,
    size: given.Sizes = None,
    steps: given.Steps = None,
    cfg: given.Cfg = None,
    shift: given.Shift = None,
    seed: given.Seeds = None,
    recipe: given.RecipeName = None,
    image: given.Image = None,
    denoise: given.Denoise = None,
    add_triggers: given.AddTriggers = False,
    strict: given.Strict = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the transformer first: pays for many pictures."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be rendered, and stop.")
    ] = False,
    cover: Annotated[
        bool, typer.Option("--cover", help="Render the cover of one adapter, for the catalog.")
    ] = False,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="With --cover: also as NAME.preview.png beside the file, if none is there.",
        ),
    ] = False,
    show: Annotated[
        bool | None,
        typer.Option(
            "--show/--no-show",
            help="Show pictures in the terminal. Left out, where it can.",
            show_default=False,
        ),
    ] = None,
    device: given.Device = "auto",
    components: given.Components = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fuse a stack onto a base in memory and render pictures.

    Settings that are left out are those the base is meant for. Merged weights are never written.
    Several prompts, sizes and seeds give a picture for each combination.

    \b
    lorakit preview ink -p "a sea" -p "a town" --seed 1-4
    lorakit preview --from out.png --steps 24
    lorakit preview ink --cover
    """
    out = Output.of("preview", json, quiet)
    wanted = Wanted(
        stack=stack,
        base=base,
        prompts=given.read_prompts(prompt, prompts),
        negative=negative,
        sizes=[given.parse_size(text) for text in size or ()],
        seeds=given.parse_seeds(seed) if seed is not None else (),
        steps=steps,
        cfg=cfg,
        shift=shift,
        recipe=recipe,
        image=image,
        denoise=denoise,
        picture=picture,
        add_triggers=add_triggers,
    )
    given.require_count(*(max(1, len(v)) for v in (wanted.prompts, wanted.sizes, wanted.seeds)))
    wanted.check()
    if beside and not cover:
        raise BadUsage("--beside goes with --cover only.")
    if cover:
        from lorakit.cli.preview_cover import render_cover

        if output is not None:
            raise BadUsage("A cover goes into the catalog's folder.", hint="Leave --output out.")
        render_cover(
            out,
            wanted,
            device=device,
            components=components,
            compiled=compiled,
            force=force,
            strict=strict,
            beside=beside,
            dry_run=dry_run,
            show=shows(out, show),
        )
        return
    if output is not None:
        # Before anything is looked up.
        from lorakit.preview.picture import check_target

        check_target(output, overwrite=True)
    if not dry_run:
        require_extra()
    plan = make_plan(wanted)
    files = targets(output, len(plan.pictures))
    check_files(files, force)
    say_advice(out, plan, strict)
    if dry_run:
        show_plan(out, plan, files)
        return
    document = run_plan(
        out,
        plan,
        files,
        device=device,
        components=components,
        compiled=compiled,
        force=force,
        show=shows(out, show),
    )
    finish(out, document)


def make_plan(wanted: Wanted) -> Plan:
    """The plan, from the person's catalog."""
    from lorakit.cli.catalogs import open_catalog

    with open_catalog() as catalog:
        return plan_pictures(catalog, wanted)
