"""`lorakit ls`: the adapters of the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog.records import AdapterRecord

EXAMPLE = "lorakit ls ink"


def ls_verb(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN", help="Only names that hold this text.", show_default=False
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the adapters of the catalog; a missing file is listed as missing."""
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("ls", json, quiet)
    with open_catalog() as catalog:
        records = catalog.adapters(pattern)
    out.result(
        {"adapters": _with_covers(records) if json else []},
        human=lambda console: show(console, records, pattern),
        ids=[record.name for record in records],
    )


def _with_covers(records: list[AdapterRecord]) -> list[dict[str, object]]:
    from lorakit.catalog.covers import all_covers

    covers = all_covers()
    return [
        {
            **{name: getattr(record, name) for name in record.__slots__},
            "cover": covers.get(record.tensor_sha256),
        }
        for record in records
    ]


def show(console: Console, records: list[AdapterRecord], pattern: str | None) -> None:
    """The table for a person."""
    from lorakit.cli.render import rows, size

    if not records:
        what = f"No adapter's name holds {pattern!r}." if pattern else "The catalog is empty."
        console.print(what, style="dim")
        console.print("`lorakit add FOLDER` adds what is in a folder.", style="dim")
        return
    rows(
        console,
        ("name", "algo", "rank", "blocks", "layout", "licence", "size", ""),
        [
            (
                record.name,
                record.algo or "",
                _rank(record),
                str(record.model_blocks or ""),
                record.layout or "",
                record.license or "unknown",
                size(record.file_size),
                "missing" if record.missing else "",
            )
            for record in records
        ],
        right=("rank", "blocks", "size"),
    )


def _rank(record: AdapterRecord) -> str:
    if record.rank_min is None:
        return ""
    same = record.rank_min == record.rank_max
    return str(record.rank_min) if same else f"{record.rank_min}-{record.rank_max}"
