"""`lorakit export`: a merged checkpoint, where every licence allows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import BaseName, Json, Quiet, StackText
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.gate.derived import Written

EXAMPLE = 'lorakit export "ink:0.8" --base anima -o merged.safetensors'


def export_verb(
    stack: StackText,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    base: BaseName = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a merged checkpoint, if the terms of everything in it allow it.

    Refused (exit code 3) when any ingredient denies or its terms are unknown. No option changes that.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.gate import export_checkpoint
    from lorakit.stack import Stack

    out = Output.of("export", json, quiet)
    with open_catalog() as catalog, out.progress("Writing") as update:
        done = export_checkpoint(
            catalog, base, Stack.parse(stack), output, overwrite=overwrite, on_progress=update
        )
    out.result(
        {"path": str(done.path), "notice": str(done.notice), "verdict": done.verdict.to_dict()},
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
