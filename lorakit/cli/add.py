"""`lorakit add`: put adapters into the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet, read_names
from lorakit.cli.output import Output
from lorakit.errors import BadUsage
from lorakit.paths import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from lorakit.catalog import Catalog
    from lorakit.network.hub_adding import Fetched

EXAMPLE = "lorakit add ~/ComfyUI/models/loras"


def add_verb(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, hf:OWNER/REPO or hf:OWNER/REPO/FILE, with @REVISION if wanted; "
            "- reads them from stdin.",
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Of hf:OWNER/REPO take every adapter it holds.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add adapter files, and those in folders, to the catalog.

    The files are only read, and what other programs' files beside them say is
    kept: titles, notes, tags, strengths, terms. `lorakit scan` looks through
    the same folders again. With hf: a file is fetched from Hugging Face first,
    and what its model card says is kept.
    """
    from lorakit.cli.adding import add_paths, tell
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("add", json, quiet)
    words = read_names(paths)
    remote = [word for word in words if word.startswith("hf:")]
    wanted = [expanded(word) for word in words if not word.startswith("hf:")]
    if everything and not remote:
        raise BadUsage("--all is for hf:OWNER/REPO.", hint="Of folders, every adapter is added.")
    with open_catalog() as catalog:
        if not remote:
            tell(out, add_paths(out, catalog, wanted, "add"))
            return
        _add_fetched(out, catalog, wanted, remote, everything)


def _add_fetched(
    out: Output, catalog: Catalog, wanted: Sequence[Path], remote: Sequence[str], everything: bool
) -> None:
    """Fetch what lies on Hugging Face, add it with the rest, and keep where it came from."""
    from dataclasses import replace

    from lorakit.cli.adding import add_paths, tell
    from lorakit.network.hub_adding import fetch, keep_cards, name_new
    from lorakit.network.hub_address import parse_address

    fetched: list[Fetched] = []
    addresses = [parse_address(word) for word in remote]
    with out.progress("Fetching") as update:
        for address in addresses:
            fetched += fetch(catalog, address, update, everything=everything)
    added = add_paths(out, catalog, [*wanted, *(one.path for one in fetched)], "add")
    added = replace(added, result=name_new(catalog, fetched, added.result))
    problems = keep_cards(catalog, fetched, f"add {' '.join(remote)}")
    names = {path: one.name for one in catalog.adapters() for path in one.locations}
    rows = [
        {
            "name": names.get(one.path),
            "path": one.path,
            "repository": one.repository.name,
            "revision": one.repository.commit,
            "file": one.remote.name,
        }
        for one in fetched
    ]
    tell(out, added, {"fetched": rows}, problems)
