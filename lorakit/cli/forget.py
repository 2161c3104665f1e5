"""`lorakit forget`: remove adapters from the catalog, never a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.curating import DryRun, Names, step_text
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord

EXAMPLE = "lorakit forget --missing --dry-run"
COMMAND = QueryCommand


def forget_verb(
    names: Names = None,
    missing: Annotated[
        bool,
        typer.Option("--missing", help="Those whose files are missing; of NAME..., or of all."),
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove adapters from the catalog, never a file.

    Tags, notes and the like stay: they belong to what is in the file, and
    are there when it is added again. `lorakit undo` brings the adapters
    back.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    out = Output.of("forget", json, quiet)
    if not names and not missing:
        raise BadUsage("There is no NAME.", hint=f"For example: {EXAMPLE}")
    with open_catalog() as catalog:
        records = select_adapters(catalog, names, whole=True) if names else catalog.adapters()
        if missing:
            records = [record for record in records if record.missing]
        words = step_text("forget", records, *(["--missing"] if missing else []))
        with catalog.step(words, dry_run=dry_run) as recording:
            catalog.forget([record.id for record in records])
    out.result(
        {
            "forgotten": [
                {"name": r.name, "file_sha256": r.file_sha256, "path": r.path, "missing": r.missing}
                for r in records
            ],
            "step": recording.number,
            "dry_run": dry_run,
        },
        human=lambda console: _show(console, records, dry_run),
        ids=[record.name for record in records],
    )
    if recording.number is not None:
        out.say(
            "Their files, and what you said of them, stay. To take it back: "
            f"lorakit undo {recording.number}"
        )


def _show(console: Console, records: list[AdapterRecord], dry_run: bool) -> None:
    from lorakit.cli.render import heading, rows

    if not records:
        console.print("No adapter is missing.", style="dim")
        return
    heading(console, "Would forget" if dry_run else "Forgotten", str(len(records)))
    rows(
        console,
        ("name", "file", ""),
        [
            (record.name, str(record.path or ""), "missing" if record.missing else "")
            for record in records
        ],
    )
