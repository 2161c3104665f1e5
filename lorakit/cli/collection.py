"""`lorakit collection`: put adapters together under a name, by hand or by a query."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.collection_members import found_by, members_of, size_of
from lorakit.cli.complete import complete_collections
from lorakit.cli.curating import DryRun, Names, contents_of, step_fields, step_text, tell
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lorakit.catalog.collections import CollectionRecord

EXAMPLE = "lorakit collection new night ink wash"
app = typer.Typer(
    help="Put adapters together under a name, by hand or by a query.",
    no_args_is_help=True,
    epilog=f"Example: `{EXAMPLE}`",
)
_ANOTHER_QUERY = "To give one another query: lorakit collection change NAME --query QUERY"
Called = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTION",
        help="A collection by name.",
        show_default=False,
        autocompletion=complete_collections,
    ),
]


@app.command("new", epilog=f"Example: `{EXAMPLE}`")
def new(
    collection: Called,
    names: Names = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="Make it a smart one: it holds whatever this query finds, now and later."
        ),
    ] = None,
    notes: Annotated[str, typer.Option(help="What it is for.")] = "",
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a collection, of adapters that are named or that a query finds."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    out = Output.of("collection new", json, quiet)
    if query is not None and names:
        raise BadUsage("A collection holds either what is named or what a query finds.")
    with open_catalog() as catalog:
        if query is not None:
            found_by(catalog, query)
        records = select_adapters(catalog, names or [], out, whole=True)
        text = step_text(f"collection new {collection}", records)
        with catalog.step(text, dry_run=dry_run) as recording:
            name = catalog.new_collection(collection, query=query, notes=notes)
            if records:
                catalog.collect(name, contents_of(records))
    tell(out, f"Made the collection {name}", recording, dry_run)
    out.result(
        {"collection": name, **step_fields(recording, dry_run)},
        human=lambda console: None,
        ids=[name],
    )


@app.command("add", epilog="Example: `lorakit collection add night pen`")
def add(
    collection: Called,
    names: Names = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put adapters into a collection, at its end."""
    _change("add", collection, names, dry_run, Output.of("collection add", json, quiet))


@app.command("remove", epilog="Example: `lorakit collection remove night pen`")
def remove(
    collection: Called,
    names: Names = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take adapters out of a collection; they stay in the catalog."""
    _change("remove", collection, names, dry_run, Output.of("collection remove", json, quiet))


@app.command("ls", epilog="Example: `lorakit collection ls`")
def ls(json: Json = False, quiet: Quiet = False) -> None:
    """List the collections."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("collection ls", json, quiet)
    with open_catalog() as catalog:
        found = catalog.collections()
        sizes = {one.name: size_of(out, catalog, one) for one in found}

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        if not found:
            console.print(f"There are none yet. For example: {EXAMPLE}", style="dim")
            return
        body = [
            (one.name, "?" if size is None else str(size), one.query or "", one.notes)
            for one, size in zip(found, sizes.values(), strict=True)
        ]
        rows(console, ("collection", "adapters", "query", "notes"), body, right=("adapters",))

    out.result(
        {"collections": [{**_document(one), "adapters": sizes[one.name]} for one in found]},
        human,
        ids=[one.name for one in found],
    )


@app.command("show", epilog="Example: `lorakit collection show night`")
def show(collection: Called, json: Json = False, quiet: Quiet = False) -> None:
    """List the adapters of a collection, in its order."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("collection show", json, quiet)
    with open_catalog() as catalog:
        found = catalog.collection(collection)
        records = members_of(catalog, found)
    known = {record.tensor_sha256 for record in records}
    gone = [content for content in found.contents if content not in known]

    def human(console: Console) -> None:
        from lorakit.cli.columns import state_of
        from lorakit.cli.render import facts, heading, rows

        heading(console, found.name, counted_rows(len(records), "adapter"))
        facts(console, [("query", found.query), ("notes", found.notes)])
        if records:
            body = [(record.name, record.algo, state_of(record)) for record in records]
            rows(console, ("name", "algo", ""), body)
        if gone:
            console.print(
                f"{counted_rows(len(gone), 'adapter')} of it not in the catalog now.", style="dim"
            )

    out.result(
        {
            **_document(found),
            "adapters": [{"name": r.name, "content": r.tensor_sha256} for r in records],
            "not_in_catalog": gone,
        },
        human,
        ids=[record.name for record in records],
    )


@app.command("rename", epilog="Example: `lorakit collection rename night evening`")
def rename(
    collection: Called,
    new_name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a collection another name."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("collection rename", json, quiet)
    with open_catalog() as catalog:
        old = catalog.collection(collection, whole=True).name
        text = f"collection rename {old} {new_name}"
        with catalog.step(text, dry_run=dry_run) as recording:
            renamed = catalog.rename_collection(old, new_name)
    done = f"The collection {old} is called {renamed.name} now"
    if renamed.changed:
        done += f", also in the {_queries_of(renamed.changed)}"
    tell(out, done, recording, dry_run)
    if renamed.lost:
        out.warn(
            f"The {_queries_of(renamed.lost)} found {old} by a pattern, or by a name that another "
            f"collection has, too, and will not find {renamed.name}. {_ANOTHER_QUERY}"
        )
    out.result(
        {
            "collection": renamed.name,
            "queries_changed": renamed.changed,
            "queries_without_it": renamed.lost,
            **step_fields(recording, dry_run),
        },
        human=lambda console: None,
        ids=[renamed.name],
    )


@app.command("change", epilog='Example: `lorakit collection change best --query "rating:5"`')
def change(
    collection: Called,
    query: Annotated[
        str | None, typer.Option(help="What a smart one holds from now on: what this query finds.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a smart collection another query, or any collection other notes."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("collection change", json, quiet)
    if query is None and notes is None:
        raise BadUsage(
            "There is nothing to change.",
            hint='For example: lorakit collection change best --query "rating:5"',
        )
    with open_catalog() as catalog:
        name = catalog.collection(collection, whole=True).name
        if query is not None:
            found_by(catalog, query)
        with catalog.step(f"collection change {quote(name)}", dry_run=dry_run) as recording:
            catalog.change_collection(name, query=query, notes=notes)
        tell(out, f"Changed the collection {name}", recording, dry_run)
        if query is not None:
            size_of(out, catalog, catalog.collection(name))
    out.result(
        {"collection": name, **step_fields(recording, dry_run)},
        human=lambda console: None,
        ids=[name],
    )


@app.command("rm", epilog="Example: `lorakit collection rm night`")
def rm(
    collection: Called, dry_run: DryRun = False, json: Json = False, quiet: Quiet = False
) -> None:
    """Remove a collection; its adapters stay in the catalog, and undo brings it back."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("collection rm", json, quiet)
    with open_catalog() as catalog:
        found = catalog.collection(collection, whole=True)
        with catalog.step(f"collection rm {found.name}", dry_run=dry_run) as recording:
            asking = catalog.drop_collection(found.name)
    tell(out, f"Removed the collection {found.name}", recording, dry_run)
    if asking:
        asks = "asks" if len(asking) == 1 else "ask"
        out.warn(
            f"The {_queries_of(asking)} still {asks} for {found.name}, and will find nothing by that "
            f"name. {_ANOTHER_QUERY}"
        )
    out.result(
        {
            "collection": found.name,
            "queries_that_name_it": asking,
            **step_fields(recording, dry_run),
        },
        human=lambda console: None,
        ids=[found.name],
    )


def _queries_of(names: Sequence[str]) -> str:
    from lorakit.catalog.naming import listed

    return f"{'query' if len(names) == 1 else 'queries'} of {listed(names)}"


def _change(
    way: str, collection: str, names: Sequence[str] | None, dry_run: bool, out: Output
) -> None:
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    if not names:
        raise BadUsage("There is no NAME.", hint=f"For example: lorakit collection {way} night pen")
    with open_catalog() as catalog:
        found = catalog.collection(collection, whole=True)
        records = select_adapters(catalog, names, out, whole=True)
        contents = contents_of(records)
        text = step_text(f"collection {way} {found.name}", records)
        with catalog.step(text, dry_run=dry_run) as recording:
            act = catalog.collect if way == "add" else catalog.uncollect
            changed = act(found.name, contents)
    done = "put into" if way == "add" else "taken out of"
    tell(out, f"{counted_rows(changed, 'adapter')} {done} {found.name}", recording, dry_run)
    out.result(
        {
            "collection": found.name,
            "adapters": [record.name for record in records],
            "changed": changed,
            **step_fields(recording, dry_run),
        },
        human=lambda console: None,
        ids=[record.name for record in records],
    )


def _document(one: CollectionRecord) -> dict[str, Any]:
    return {
        "name": one.name,
        "query": one.query,
        "notes": one.notes,
        "made_at": one.made_at.isoformat(),
    }
