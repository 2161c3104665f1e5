"""`lorakit report`: a gallery of adapters as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Force, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand, QueryWords, header_share, query_text
from lorakit.cli.selecting import select_adapters
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog

EXAMPLE = "lorakit report rating:4.. -o gallery.html"
COMMAND = QueryCommand
PAGE_NAME = "index.html"


def report_verb(
    query: QueryWords = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="An .html file, or a folder for index.html.")
    ] = Path("gallery.html"),
    title: Annotated[str, typer.Option(help="The heading of the page.")] = "Adapters",
    public: Annotated[
        bool,
        typer.Option("--public", help="Leave out where files lie, and your notes."),
    ] = False,
    like: Annotated[
        int, typer.Option(help="How many relatives by weights to show of each; 0 for none.")
    ] = 6,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a gallery of adapters as one HTML file, to look through or to show.

    Covers, facets, search, and for each adapter what it changes, its
    singular values, licence, strength and relatives; and the stacks you
    kept of them. The page holds everything and asks nothing of any server.
    Without a query it shows all; `collection:best` is a collection, and -
    reads names from stdin.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.render import size as shown_size
    from lorakit.report.exhibits import gather
    from lorakit.report.gallery_page import gallery_page
    from lorakit.report.stacks import gather_stacks

    out = Output.of("report", json, quiet)
    path = page_path(output, force=force)
    with open_catalog() as catalog, out.progress("Gathering") as update:
        records = catalog.identified(chosen(catalog, query or []))
        exhibits = gather(catalog, records, like=max(like, 0), on_progress=update, warn=out.warn)
        stacks = gather_stacks(catalog, records, out.warn)
        sorted_already = any(word.startswith("sort:") for word in query or ())
        page = gallery_page(
            exhibits, title=title, private=not public, ordered=sorted_already, stacks=stacks
        )
    size = write_page(path, page)
    covers = sum(one.cover is not None for one in exhibits)
    out.result(
        {
            "path": path,
            "adapters": len(exhibits),
            "covers": covers,
            "stacks": len(stacks),
            "bytes": size,
        },
        human=lambda console: console.print(
            f"{path}: {counted_rows(len(exhibits), 'adapter')}, {counted_rows(covers, 'cover')}, "
            f"{shown_size(size)}.",
            soft_wrap=True,
        ),
        ids=[str(path)],
    )


def page_path(output: Path, *, force: bool) -> Path:
    """The file to write. Raises `BadUsage` where one is there and is not to be overwritten."""
    path = expanded(str(output))
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        path = path / PAGE_NAME
    if path.exists() and not force:
        raise BadUsage(f"{path} exists already.", hint="--overwrite replaces it.")
    return path


def write_page(path: Path, page: str) -> int:
    """Write the page, all of it or nothing; its size in bytes."""
    data = page.encode("utf-8", errors="replace")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error
    return len(data)


def chosen(catalog: Catalog, words: list[str]) -> list[AdapterRecord]:
    """The adapters that a query fits, in its order; `-` stands for names on standard input.

    Raises `NotFound` where there is none, and `BadUsage` for a text that is no query.
    """
    if words == ["-"]:
        found = select_adapters(catalog, words)
    else:
        found = catalog.find(query_text(words), share=header_share)
    if found:
        return found
    if not words:
        raise NotFound(
            "The catalog is empty.", hint="`lorakit add FOLDER` adds what is in a folder."
        )
    raise NotFound(
        f"No adapter fits {query_text(words)!r}.", hint="`lorakit ls` lists what there is."
    )
