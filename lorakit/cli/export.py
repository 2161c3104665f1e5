"""`lorakit export`: a merged checkpoint, where every licence allows it; or a recipe, which always is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli import export_recipe as given
from lorakit.cli.options import BaseName, Json, Quiet, StackText
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.gate.derived import Written

EXAMPLE = 'lorakit export "ink:0.8" --base anima -o merged.safetensors'


def export_verb(
    stack: StackText,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The .safetensors file to write; a recipe goes to stdout with -."
        ),
    ],
    base: BaseName = None,
    recipe: given.Recipe = None,
    prompt: given.Prompt = None,
    negative: given.Negative = None,
    size: given.Size = None,
    steps: given.Steps = None,
    cfg: given.Cfg = None,
    shift: given.Shift = None,
    seed: given.Seed = None,
    add_triggers: given.AddTriggers = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a merged checkpoint, if the terms of all in it allow it; or a recipe.

    Refused (exit code 3) when any ingredient denies or its terms are unknown. No option changes that.
    A recipe makes the same stack again from each person's own files.

    \b
    lorakit export "ink:0.8" --recipe comfyui -p "@ink, a sea" -o sea.json
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.stack_argument import given_stack
    from lorakit.gate import export_checkpoint

    out = Output.of("export", json, quiet)
    said = {"prompt": prompt, "negative": negative, "size": size, "steps": steps, "cfg": cfg}
    said |= {"shift": shift, "seed": seed, "add_triggers": add_triggers}
    if recipe is not None:
        given.export_recipe(out, recipe, stack, output, base, said, overwrite=overwrite)
        return
    given.require_none(said)
    found = given_stack(stack, out, base=base)
    with open_catalog() as catalog, out.progress("Writing") as update:
        done = export_checkpoint(
            catalog, found.base, found.stack, output, overwrite=overwrite, on_progress=update
        )
    out.result(
        {
            "path": str(done.path),
            "notice": str(done.notice),
            "content": done.content,
            "audit": done.audit,
            "verdict": done.verdict.to_dict(),
        },
        human=lambda console: show(console, done),
        ids=[str(done.path)],
    )


def show(console: Console, done: Written) -> None:
    """What was written, and what must go with it."""
    from lorakit.cli.render import facts, notes

    facts(console, [("written", str(done.path)), ("notice", str(done.notice))])
    if done.verdict.obligations:
        console.print("Whoever shares it must:")
        notes(console, done.verdict.obligations)
