"""`lorakit ls`: the adapters of the catalog, all or those that a query fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Mode, Output, console
from lorakit.cli.queries import QueryCommand, QueryWords, header_share, query_text

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.catalog.query.searching import Search

EXAMPLE = "lorakit ls ink rank:8..32 -tag:nsfw sort:rating-"
COMMAND = QueryCommand
_PAGE = 50


def ls_verb(
    query: QueryWords = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"At most so many; 0 is all. Left out: {_PAGE}, or all with --json and -q.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="COLUMNS",
            help="What to show, such as name,rank,tags,path.",
            show_default=False,
        ),
    ] = None,
    fields: Annotated[
        bool, typer.Option("--fields", help="List what a query can name, with examples.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the adapters of the catalog; a missing file is listed as missing.

    "header only" are those that `lorakit scan` has not read whole yet.

    Words are searched in names, titles, tags, notes and trigger words; all conditions have to be met.
    A comma is "or", - or ^ is "not", a..b is a range, * is any text. Five queries:

    `lorakit ls sumi 'title:"old ink"'`

    `lorakit ls tag:ink -tag:nsfw rating:4..`

    `lorakit ls algo:lokr rank:8..32 block:0..2 sort:rank-`

    `lorakit ls license:allow missing:no , favourite:yes`

    `lorakit ls added:-30d component:text_encoder sort:added-`
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.columns import chosen_columns, usual_columns
    from lorakit.cli.waiting import SOME_FOLDER, patiently

    out = Output.of("ls", json, quiet)
    if fields:
        _list_fields(out.about("fields"))
        return
    shown = chosen_columns(columns)
    text = query_text(query or [])
    people = out.mode is Mode.HUMAN
    if people and columns is None:
        shown = usual_columns(console().width)
    most = (limit or None) if limit is not None else _PAGE if people else None
    with open_catalog() as catalog, catalog.searching(header_share) as search:
        if quiet:
            names = search.names(text, most)
            out.result({}, human=lambda console: None, ids=names)
            return
        with patiently(SOME_FOLDER):
            records = search.records(text, most)
        total = _total(search, text, records, most) if people else len(records)
        body = shown.cells(catalog, records) if people else []
        if columns is None:
            shown, body = shown.without_empty(body)
        document = {"adapters": _documents(catalog, records)} if json else {}
    out.result(document, human=lambda console: shown.show(console, body, text, total))


def _total(search: Search, text: str, records: list[AdapterRecord], most: int | None) -> int:
    """How many fit, which has to be asked only where the page is full."""
    return search.count(text) if most is not None and len(records) == most else len(records)


def _documents(catalog: Catalog, records: list[AdapterRecord]) -> list[dict[str, object]]:
    """Everything the catalog has in its columns, and what is said of each."""
    from lorakit.catalog.covers import all_covers
    from lorakit.catalog.facts import with_header
    from lorakit.catalog.fields import is_taken_tag

    covers = all_covers()
    contents = list({record.tensor_sha256 for record in records})
    facts, tags = catalog.all_facts(contents), catalog.all_tags(contents)
    return [
        {
            **{name: getattr(record, name) for name in record.__slots__},
            **({"file_sha256": None, "tensor_sha256": None} if record.pending else {}),
            "pending": record.pending,
            "cover": covers.get(record.tensor_sha256),
            "tags": list(tags.get(record.tensor_sha256, ())),
            "facts": {
                field: {"value": said[0].value, "source": said[0].source}
                for field, said in with_header(record, facts.get(record.tensor_sha256, {})).items()
                if not is_taken_tag(field)
            },
        }
        for record in records
    ]


def _list_fields(out: Output) -> None:
    from lorakit.catalog.query.fields import FIELDS, SORT, SORTABLE

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        body = [(field.example, field.about) for field in FIELDS]
        body.append((f"{SORT}:rank-", f"The order: {', '.join(SORTABLE)}; - is downwards."))
        rows(console, ("example", "what it finds"), body)

    if out.mode is Mode.HUMAN:
        out.result({}, human)
        return
    out.result(
        {
            "fields": [
                {
                    "name": field.name,
                    "example": field.example,
                    "about": field.about,
                    "sortable": field.sortable,
                    "choices": list(field.choices),
                    "aliases": list(field.aliases),
                }
                for field in FIELDS
            ]
        },
        human,
        ids=[field.name for field in FIELDS],
    )
