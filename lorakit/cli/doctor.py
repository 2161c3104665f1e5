"""`lorakit doctor`: whether files and database are as they were written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.complete import complete_subjects
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, CatalogError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.doctor import Finding
    from lorakit.catalog.verifying import Verified

EXAMPLE = "lorakit doctor --verify"
COMMAND = QueryCommand
MAX_LISTED = 20


@dataclass(frozen=True)
class _Checked:
    """What was looked at, and what was found; `verified` files were read."""

    adapters: int
    findings: Sequence[Finding]
    verified: int | None


def doctor_verb(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME or QUERY]...",
            help="The adapters to look at. Left out, all.",
            show_default=False,
            autocompletion=complete_subjects,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read every file again and compare its hashes: this takes long."
        ),
    ] = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Record what --verify finds changed, as a scan would."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check files and database: what is missing, changed or damaged, and what to do.

    Nothing is written without --update, and never to a file. Exit code 1
    where something is wrong, 0 where there are remarks at most.
    """
    from lorakit.catalog.relatives import near_duplicates
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    out = Output.of("doctor", json, quiet)
    if update and not verify:
        raise BadUsage("--update goes with --verify.", hint="lorakit doctor --verify --update")
    with open_catalog() as catalog:
        chosen = [record.id for record in select_adapters(catalog, words)] if words else None
        findings = catalog.examine(chosen)
        damaged = any(one.kind == "database" for one in findings)
        if damaged and verify:
            out.warn(
                "The files were not read, since the database does not tell what they should hold."
            )
        verified = _verify(out, catalog, chosen) if verify and not damaged else None
        if verified is not None:
            findings = _with_read(catalog, findings, verified, out if update else None)
        if not damaged:
            findings = [*findings, *near_duplicates(catalog, chosen)]
        count = _adapters(catalog, chosen)
    read = None if verified is None else sum(one.outcome != "unreadable" for one in verified)
    _tell(out, _Checked(count, findings, read))
    if any(one.problem for one in findings):
        raise typer.Exit(1)


def _adapters(catalog: Catalog, chosen: Sequence[int] | None) -> int:
    """How many adapters were looked at; 0 where the database does not tell."""
    try:
        return len(catalog.adapters()) if chosen is None else len(chosen)
    except CatalogError:
        return 0


def _verify(out: Output, catalog: Catalog, chosen: Sequence[int] | None) -> list[Verified]:
    with out.progress("Reading") as update:
        return catalog.verify(
            chosen, on_progress=lambda path, done, total: update(done, total, path.name)
        )


def _with_read(
    catalog: Catalog, findings: Iterable[Finding], verified: Iterable[Verified], out: Output | None
) -> list[Finding]:
    """The findings, with what reading told in place of what a look did; recorded first if `out`."""
    from lorakit.catalog.verifying import findings_of

    told = findings_of(verified)
    if out is not None:
        told = _recorded(out, catalog, told)
    return [*(one for one in findings if one.kind not in ("changed", "unreadable")), *told]


def _recorded(out: Output, catalog: Catalog, findings: Sequence[Finding]) -> list[Finding]:
    """Record files as they are now; the findings as they stand after that."""
    from lorakit.catalog.doctor import Finding
    from lorakit.licenses.adding import take_in

    stale = [Path(one.path) for one in findings if one.path and one.kind in _RECORDABLE]
    with out.progress("Recording") as update:
        result = catalog.read_again(
            stale, on_progress=lambda path, done, total: update(done, total, path.name)
        )
    take_in(catalog, result, "doctor --verify --update")
    now = {str(file.path): file.name for file in (*result.known, *result.moved, *result.changed)}
    return [
        Finding("recorded", f"{one.path}: {now[one.path]}", now[one.path], one.path)
        if one.path in now and one.kind in _RECORDABLE
        else one
        for one in findings
    ]


_RECORDABLE = frozenset({"silent", "altered", "touched"})


def _tell(out: Output, checked: _Checked) -> None:
    problems = [one for one in checked.findings if one.problem]
    document = {
        "sound": not problems,
        "adapters": checked.adapters,
        "verified": checked.verified,
        "findings": [{**asdict(one), "problem": one.problem} for one in checked.findings],
    }
    out.result(
        document,
        human=lambda console: _show(console, checked, len(problems)),
        ids=dict.fromkeys(one.name for one in problems if one.name),
    )


def _show(console: Console, checked: _Checked, problems: int) -> None:
    from lorakit.catalog.doctor import KINDS
    from lorakit.cli.render import heading, notes

    for kind, about in KINDS.items():
        texts = [one.text for one in checked.findings if one.kind == kind]
        if not texts:
            continue
        heading(console, about.title, f"{len(texts):,}")
        notes(console, texts[:MAX_LISTED], "red" if about.problem else "dim")
        if len(texts) > MAX_LISTED:
            console.print(f"and {len(texts) - MAX_LISTED:,} more: --json has all of them")
        console.print(about.advice, style="dim")
        console.print()
    console.print(_summary(checked, problems))


def _summary(checked: _Checked, problems: int) -> str:
    remarks = len(checked.findings) - problems
    read = "" if checked.verified is None else f", {counted_rows(checked.verified, 'file')} read"
    said = [counted_rows(problems, "problem")] if problems else ["Nothing is wrong"]
    if remarks:
        said.append(counted_rows(remarks, "remark"))
    return f"{counted_rows(checked.adapters, 'adapter')}{read}. {', '.join(said)}."
