"""`lorakit add`: put adapters into the catalog."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet, read_names
from lorakit.cli.output import Output
from lorakit.errors import BadFile
from lorakit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AddedFile, AddResult, RejectedFile

EXAMPLE = "lorakit add ~/ComfyUI/models/loras"
MAX_LISTED = 20


def add_verb(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files and folders; - reads them from stdin."),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add adapter files, and those in folders, to the catalog.

    The files are only read, and what other programs' files beside them say of their terms is kept.
    """
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("add", json, quiet)
    wanted = [expanded(name) for name in read_names(paths)]
    with open_catalog() as catalog, out.progress("Reading") as update:
        result = catalog.add(
            wanted, on_progress=lambda path, done, total: update(done, total, path.name)
        )
        problems = _keep_terms(catalog, (*result.added, *result.changed))
    out.result(
        {field.name: getattr(result, field.name) for field in fields(result)},
        human=lambda console: show(console, result),
        ids=[file.name for file in result.added],
    )
    for problem in problems:
        out.warn(problem)
    for rejected in result.failed:
        out.warn(" ".join(filter(None, (_reason(rejected), rejected.hint))))
    if result.failed:
        raise typer.Exit(BadFile.exit_code)


def _keep_terms(catalog: Catalog, new: Sequence[AddedFile]) -> tuple[str, ...]:
    """Keep what lies beside new files of their terms; what could not be read."""
    if not new:
        return ()
    from lorakit.licenses.adding import keep_beside

    return keep_beside(catalog, new)


def show(console: Console, result: AddResult) -> None:
    """The outcome for a person: counts, then names."""
    from lorakit.cli.render import facts, notes

    names = [file.name for file in result.added]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    facts(
        console,
        [
            ("added", f"{len(names)}: {', '.join(names[:MAX_LISTED])}{more}" if names else "none"),
            ("known already", _count(result.known)),
            ("moved", _count(result.moved)),
            ("changed", _count(result.changed)),
            ("unreadable", _count(result.failed)),
        ],
    )
    notes(console, [f"Left out {r.path.name}: {r.reason}" for r in result.skipped_not_adapter])


def _reason(rejected: RejectedFile) -> str:
    """Which file, and why; most reasons are sentences that name it already."""
    if str(rejected.path) in rejected.reason:
        return rejected.reason
    return f"{rejected.path} {rejected.reason}."


def _count(files: Sized) -> str | None:
    return str(len(files)) if files else None
