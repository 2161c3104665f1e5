"""`lorakit strength`: how strong adapters are, and at which strengths they suggest themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.complete import complete_bases
from lorakit.cli.curating import Names
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.counting import counted_rows
from lorakit.errors import BadFile, NotFound

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.suggesting.suggestion import Suggestion

    Told = Sequence[tuple[AdapterRecord, Suggestion]]

EXAMPLE = "lorakit strength ink"
COMMAND = QueryCommand


def strength_verb(
    names: Names = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-b",
            help="A base by name. Left out, the one that most adapters were measured on.",
            autocompletion=complete_bases,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell how strong adapters are, and which strengths suggest themselves.

    With the evidence: what you set, kept and voted for, what programs and
    cards say, and the size of each change. What is measured is kept. Without
    a NAME it tells of all.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import read_whole, select_adapters
    from lorakit.suggesting.measuring import measure, the_base
    from lorakit.suggesting.sources import read_sources
    from lorakit.suggesting.suggestion import suggest

    out = Output.of("strength", json, quiet)
    with open_catalog() as catalog:
        everyone = catalog.adapters()
        if names:
            records = select_adapters(catalog, names, out)
        else:
            records = everyone = read_whole(out, catalog, everyone)
        chosen = the_base(catalog, base)
        failed: dict[str, str] = {}
        if chosen is None:
            out.warn("No base is registered, so sizes are unknown: lorakit base add FILE --as rdbt")
        else:
            others = [record for record in everyone if not record.pending]
            try:
                with out.progress("Measuring") as update:
                    failed = measure(catalog, records, chosen, others, update)
            except (BadFile, NotFound) as error:
                out.warn(f"Sizes are not measured. {error.message}")
        sources = read_sources(catalog, chosen)
        told = [(record, suggest(sources, record)) for record in records]
    wanted = {record.name for record in records}
    out.result(
        {
            "base": None if chosen is None else chosen.name,
            "adapters": [
                {"name": record.name, "content": record.tensor_sha256, **suggestion.to_dict()}
                for record, suggestion in told
            ],
            "not_measured": [{"name": n, "reason": r} for n, r in failed.items() if n in wanted],
        },
        human=lambda console: _show(console, told, failed),
        ids=[record.name for record in records],
    )


def evidence_of(catalog: Catalog, record: AdapterRecord) -> Suggestion:
    """What suggests itself by what is known already; nothing is measured."""
    from lorakit.suggesting.measuring import the_base
    from lorakit.suggesting.sources import read_sources
    from lorakit.suggesting.suggestion import suggest

    return suggest(read_sources(catalog, the_base(catalog, None)), record)


def strength_rows(suggestion: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The rows for a person, of a suggestion as `--json` has it."""
    rows: list[tuple[str, str | None]] = [("change at 1", size_text(suggestion))]
    if suggestion["value"] is not None:
        low, high = suggestion["low"], suggestion["high"]
        span = f" ({low:g} to {high:g})" if low < high else ""
        rows.append(("suggested strength", f"{suggestion['value']:g}{span}"))
    evidence = [one["text"] for one in suggestion["evidence"]]
    return [*rows, *(("evidence" if not at else "", text) for at, text in enumerate(evidence))]


def size_text(suggestion: Mapping[str, Any]) -> str | None:
    """How much the adapter changes the base at 1, as a whole and by component."""
    size = suggestion["size"]
    if size is None:
        return None
    parts = [f"{share:.2%} of {name}" for name, share in size["components"].items()]
    unmeasured = size["left_out"]
    left_out = f"; {counted_rows(unmeasured, 'module')} could not be measured" if unmeasured else ""
    by_part = f" ({', '.join(parts)})" if len(parts) > 1 else ""
    return (
        f"{suggestion['base']} as a whole by {size['overall']:.2%}{by_part}, the "
        f"{counted_rows(size['modules'], 'module')} it touches by {size['touched']:.2%}{left_out}"
    )


def _decided(suggestion: Suggestion) -> str:
    """Who or what decided on a strength, in a word or two."""
    from lorakit.catalog.fields import called

    reason = suggestion.reason
    if reason is None:
        return ""
    ways = {"yours": "you", "kept stack": "your stacks", "votes": "your votes"}
    return called(reason.source) if reason.source else ways.get(reason.kind, reason.kind)


def _show(console: Console, told: Told, failed: Mapping[str, str]) -> None:
    from lorakit.cli.render import facts, heading, notes, rows

    if len(told) == 1:
        ((record, suggestion),) = told
        heading(console, record.name)
        facts(console, strength_rows(suggestion.to_dict()))
        if not suggestion.evidence:
            console.print("Nothing speaks for any strength yet.", style="dim")
    elif told:
        body = [
            (
                record.name,
                "" if one.size is None else f"{one.size.overall:.2%}",
                one.text,
                _decided(one),
            )
            for record, one in told
        ]
        rows(console, ("name", "change at 1", "suggested", "by"), body, right=("change at 1",))
    else:
        console.print("The catalog is empty.", style="dim")
    shown = [(name, why) for name, why in failed.items() if any(r.name == name for r, _ in told)]
    notes(console, [f"{name} is not measured: {why}" for name, why in shown[:5]])
    if len(shown) > 5:
        notes(console, [f"{len(shown) - 5} more are not measured (--json lists all)."])
