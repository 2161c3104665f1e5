"""`lorakit undo`: take back what a command changed in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog.undo import StepRecord, Undone

EXAMPLE = "lorakit undo --list"
_MOST_LINES = 20


def undo_verb(
    step: Annotated[
        int | None,
        typer.Argument(metavar="STEP", help="A step's number; left out, the last that stands."),
    ] = None,
    list_steps: Annotated[
        bool, typer.Option("--list", help="List the steps, latest first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="How many --list shows; 0 for all.")] = 20,
    redo: Annotated[bool, typer.Option("--redo", help="Bring back what was undone last.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be taken back; change nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take back what a command changed in the catalog.

    Undoing again goes one step further back; --redo comes forward again. Files are never touched.
    """
    from lorakit.cli.catalogs import open_catalog

    if list_steps and (step is not None or redo or dry_run):
        raise BadUsage("--list stands alone.", hint=f"For example: {EXAMPLE}")
    if redo and step is not None:
        raise BadUsage("--redo takes no STEP.", hint="lorakit undo STEP takes any step back.")
    out = Output.of("undo list" if list_steps else "undo", json, quiet)
    with open_catalog() as catalog:
        if list_steps:
            _list(out, catalog.steps(limit or None))
            return
        undone = catalog.undo(catalog.last_undo() if redo else step, dry_run=dry_run)
    out.result(
        {
            "undone": undone.step,
            "command": undone.command,
            "step": undone.number,
            "changes": undone.changes,
            "notes": undone.notes,
            "dry_run": dry_run,
        },
        human=lambda console: _show(console, undone),
        ids=[str(undone.number or undone.step)],
    )
    if undone.number is not None:
        out.say(f"To bring it back: lorakit undo {undone.number}")


def _show(console: Console, undone: Undone) -> None:
    from lorakit.cli.render import facts, heading, notes

    verb = "Undone" if undone.number else "Would undo"
    heading(console, f"{verb}: step {undone.step}", undone.command)
    lines = undone.changes[:_MOST_LINES]
    facts(console, [("", line) for line in lines])
    if rest := len(undone.changes) - len(lines):
        console.print(f"... and {rest} more (--json lists all)", style="dim")
    notes(console, undone.notes)


def _list(out: Output, steps: list[StepRecord]) -> None:
    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        if not steps:
            console.print("Nothing has been changed yet.", style="dim")
            return
        rows(
            console,
            ("step", "when", "command", "rows", ""),
            [
                (
                    str(step.id),
                    f"{step.at.astimezone():%Y-%m-%d %H:%M}",
                    step.command,
                    str(step.rows),
                    f"undone by {step.undone_by}" if step.undone_by else "",
                )
                for step in steps
            ],
            right=("step", "rows"),
        )

    out.result({"steps": steps}, human, ids=[str(step.id) for step in steps])
