"""`lorakit export STACK --recipe KIND`: how to make a stack again, without a weight of anybody's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.output import Mode, Output, write_line
from lorakit.cli.render_options import parse_seeds, parse_size
from lorakit.errors import BadUsage
from lorakit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.cli.preview_plan import Plan
    from lorakit.sharing.shared import Settings
    from lorakit.sharing.writing import RecipeKind
    from lorakit.stack import Stack

_PANEL = "With --recipe; settings left out are those the base is meant for"
FLAG = "--overwrite"

Recipe = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Write a recipe instead, which holds no weights and is never refused: stack (.toml), "
        "comfyui (.json), comfyui-api (.json), a1111 (.txt) or lora-manager (.recipe.json).",
    ),
]
Prompt = Annotated[
    str | None, typer.Option("--prompt", "-p", help="What to render.", rich_help_panel=_PANEL)
]
Negative = Annotated[str | None, typer.Option(help="Negative prompt.", rich_help_panel=_PANEL)]
Size = Annotated[
    str | None, typer.Option(metavar="WxH", help="Width and height.", rich_help_panel=_PANEL)
]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.", rich_help_panel=_PANEL)]
Cfg = Annotated[float | None, typer.Option(help="Guidance; 1 is none.", rich_help_panel=_PANEL)]
Shift = Annotated[
    float | None, typer.Option(help="Shift of the noise schedule.", rich_help_panel=_PANEL)
]
Seed = Annotated[str | None, typer.Option(help="A number, or random.", rich_help_panel=_PANEL)]
AddTriggers = Annotated[
    bool,
    typer.Option(
        "--add-triggers",
        help="Put an adapter's trigger word first where none is.",
        rich_help_panel=_PANEL,
    ),
]


def export_recipe(
    out: Output,
    kind: str,
    stack: str,
    output: Path,
    base: str | None,
    said: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write the recipe of `stack` to `output`, or to stdout for `-`. `said` are the options of the panel.

    Raises `BadUsage` for a kind that there is not and for an output that is in the way, and what
    `plan_pictures` raises.
    """
    from lorakit.sharing.shared import share
    from lorakit.sharing.writing import check_target, recipe_text, write_recipe

    wanted_kind = _kind(kind)
    to_stdout = str(output) == "-"
    if to_stdout and out.mode is not Mode.HUMAN:
        raise BadUsage("-o - writes the recipe itself to stdout.", hint="Leave --json and -q out.")
    target = expanded(output)
    if not to_stdout:
        check_target(target, wanted_kind, overwrite=overwrite, flag=FLAG)
    plan = _plan(stack, base, said)
    settings = _settings(plan)
    # A stack file is for any picture, unless one was meant.
    keep = wanted_kind != "stack" or bool(_given(said)) or bool(settings.prompt)
    with out.progress("Hashing") as update:
        update(0, 0, "files")
        shared = share(plan.base, plan.entries, settings if keep else None)
    recipe = recipe_text(wanted_kind, shared, target, time.time())
    remarks = [*plan.remarks, *_about_image(plan), *recipe.lost]
    if out.mode is not Mode.JSON:
        for remark in remarks:
            out.warn(remark)
    if to_stdout:
        write_line(recipe.text.removesuffix("\n"))
        return
    write_recipe(target, wanted_kind, recipe.text, overwrite=overwrite, flag=FLAG)
    _report(out, wanted_kind, target, shared.base.name, shared.stack, remarks, asdict(settings))


def require_none(said: Mapping[str, Any]) -> None:
    """Raise `BadUsage` for an option that says something about a recipe's picture only."""
    if given := _given(said):
        raise BadUsage(
            f"--{given[0].replace('_', '-')} goes with --recipe.",
            hint="A merged checkpoint has no prompt and no settings.",
        )


def _given(said: Mapping[str, Any]) -> list[str]:
    return [name for name, value in said.items() if value is not None and value is not False]


def _kind(text: str) -> RecipeKind:
    from lorakit.sharing.writing import RecipeKind

    try:
        return RecipeKind(text)
    except ValueError as error:
        kinds = ", ".join(RecipeKind)
        raise BadUsage(f"There is no recipe {text!r}.", hint=f"There are: {kinds}.") from error


def _plan(stack: str, base: str | None, said: Mapping[str, Any]) -> Plan:
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.preview_plan import Wanted, plan_pictures

    wanted = Wanted(
        stack=stack,
        base=base,
        prompts=(said["prompt"],) if said["prompt"] is not None else (),
        negative=said["negative"],
        sizes=(parse_size(said["size"]),) if said["size"] is not None else (),
        seeds=parse_seeds(said["seed"]) if said["seed"] is not None else (),
        steps=said["steps"],
        cfg=said["cfg"],
        shift=said["shift"],
        add_triggers=said["add_triggers"],
    )
    wanted.check()
    with open_catalog() as catalog:
        plan = plan_pictures(catalog, wanted)
    if len(plan.pictures) != 1:
        raise BadUsage("A recipe is for one picture.", hint="Give one seed.")
    return plan


def _settings(plan: Plan) -> Settings:
    from lorakit.sharing.shared import Settings

    (picture,) = plan.pictures
    return Settings(
        prompt=picture.prompt,
        negative_prompt=picture.negative_prompt,
        width=picture.width,
        height=picture.height,
        steps=picture.steps,
        cfg=picture.cfg,
        seed=picture.seed,
        shift=picture.shift,
    )


def _about_image(plan: Plan) -> list[str]:
    if plan.pictures[0].image is None:
        return []
    return [
        "The picture began from an image, which recipes do not carry: this one begins from noise."
    ]


def _report(
    out: Output,
    kind: str,
    target: Path,
    base: str,
    stack: Stack,
    remarks: list[str],
    settings: dict[str, Any],
) -> None:
    document = {
        "recipe": str(kind),
        "path": str(target),
        "base": base,
        "stack": str(stack),
        "settings": settings,
        "remarks": remarks,
    }

    def human(console: Console) -> None:
        from lorakit.cli.render import facts

        facts(console, [("written", str(target)), ("stack", str(stack)), ("base", base)])

    out.result(document, human, ids=[str(target)])
