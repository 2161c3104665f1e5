"""`lorakit export-metadata`: write what is known of adapters for another program."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.catalog.exporting import Export, Program, plan_export, write_export
from lorakit.cli.complete import complete_subjects
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from rich.console import Console

COMMAND = QueryCommand
EXAMPLE = "lorakit export-metadata ink --to lora-manager --dry-run"


def export_metadata_verb(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Adapters, or a query; - reads names from stdin.",
            autocompletion=complete_subjects,
        ),
    ],
    to: Annotated[Program, typer.Option("--to", help="The program to write for.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the differences and write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write notes, tags, strengths and more beside adapters, for another program to read.

    What that program has is merged into: your own words go before its own,
    others only fill what is empty, and what lorakit does not know stays. A
    backup is kept beside a file that is changed.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    out = Output.of("export-metadata", json, quiet)
    with open_catalog() as catalog:
        records = select_adapters(catalog, names, out, whole=True)
        exports: list[Export] = []
        failures: list[LorakitError] = []
        for record in records:
            try:
                exports += plan_export(catalog, record, to)
            except LorakitError as error:
                failures.append(error)
    changing = [export for export in exports if export.changes]
    written, backups = ([], {}) if dry_run else _write(changing, failures)
    chosen = changing if dry_run else written
    out.result(
        {
            "program": to.value,
            "dry_run": dry_run,
            "files": [_entry(export, backups.get(export.path)) for export in chosen],
            "unchanged": [export.path for export in exports if not export.changes],
            "failed": [{"message": one.message, "hint": one.hint} for one in failures],
        },
        human=lambda console: _show(console, chosen, backups, dry_run, bool(failures)),
        ids=[str(export.path) for export in chosen],
    )
    for failed in failures:
        out.warn(" ".join(filter(None, (failed.message, failed.hint))))
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _write(
    exports: Sequence[Export], failures: list[LorakitError]
) -> tuple[list[Export], dict[Path, Path]]:
    """Write what changes; those that were written, and the backups by path."""
    written, backups = [], {}
    for export in exports:
        try:
            backup = write_export(export, datetime.now())
        except LorakitError as error:
            failures.append(error)
            continue
        written.append(export)
        if backup is not None:
            backups[export.path] = backup
    return written, backups


def _entry(export: Export, backup: Path | None) -> dict[str, object]:
    return {
        "adapter": export.adapter,
        "path": export.path,
        "backup": backup,
        "diff": export.diff(),
    }


def _show(
    console: Console,
    exports: Sequence[Export],
    backups: dict[Path, Path],
    dry_run: bool,
    failed: bool,
) -> None:
    if not exports and not failed:
        console.print("Nothing to write: what is known stands there already.")
    for export in exports:
        if dry_run:
            console.print(export.diff(), soft_wrap=True)
        else:
            backup = backups.get(export.path)
            kept = f" (before: {backup.name})" if backup else ""
            console.print(f"{export.path}{kept}", soft_wrap=True)
