"""`lorakit add`: put adapters into the catalog."""

from __future__ import annotations

from typing import Annotated

import typer

from lorakit.cli.options import Json, Quiet, read_names
from lorakit.cli.output import Output
from lorakit.paths import expanded

EXAMPLE = "lorakit add ~/ComfyUI/models/loras"


def add_verb(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files and folders; - reads them from stdin."),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add adapter files, and those in folders, to the catalog.

    The files are only read, and what other programs' files beside them say is
    kept: titles, notes, tags, strengths, terms. `lorakit scan` looks through
    the same folders again.
    """
    from lorakit.cli.adding import add_paths, tell
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("add", json, quiet)
    wanted = [expanded(name) for name in read_names(paths)]
    with open_catalog() as catalog:
        added = add_paths(out, catalog, wanted, "add")
    tell(out, added)
