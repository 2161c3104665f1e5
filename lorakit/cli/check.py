"""`lorakit check`: what a stack will do, before anything is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.complete import complete_stacks
from lorakit.cli.options import Force, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.workshop import Device
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from lorakit.cli.check_run import Checked

EXAMPLE = "lorakit check ink:0.8 wash:0.5 --balance"
_BY = ("kinds", "blocks")


def check_verb(
    stack: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STACK",
            help="Adapters with strengths, ink:0.8 wash:0.5; a kept stack by name; a stack file or recipe; "
            "or a query.",
            show_default=False,
            autocompletion=complete_stacks,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-b",
            help="A base by name or file. Left out, the only registered one, or none.",
        ),
    ] = None,
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="Propose strengths at which all contribute alike, as strong together as the strongest.",
        ),
    ] = False,
    by: Annotated[
        str, typer.Option(metavar="kinds|blocks", help="What to list sizes by.")
    ] = "kinds",
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write a page (.html) with a slider for each adapter."
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell what a stack will do, by weights: how strong, how alike, who fights whom, and what to do.

    Exact, from the factors alone; nothing is rendered. A base is read through
    once, and its sizes are kept. With --balance, -q prints the proposed stack.
    """
    from lorakit.cli.check_run import run_check
    from lorakit.cli.workshop import chosen_device
    from lorakit.merging.checking.document import comparison_document

    out = Output.of("check", json, quiet)
    if by not in _BY:
        raise BadUsage(f"--by {by} is not known.", hint=f"There are: {', '.join(_BY)}.")
    if not stack:
        raise BadUsage("There is no STACK.", hint=f"For example: {EXAMPLE}")
    page = None
    if html is not None:
        from lorakit.cli.report import page_path

        page = page_path(html, force=force)
    checked = run_check(stack, base, out, chosen_device(device))
    document = comparison_document(checked.comparison, checked.usual)
    if page is not None:
        _write(checked, page)
        out.say(f"Wrote {page}.")

    from lorakit.cli.check_view import show

    proposed = document["balance"]
    if balance and proposed is None and (json or quiet):
        _say_why(checked, out)
    out.result(
        {
            "stack": checked.stack,
            "base_name": checked.base,
            **document,
            **({"html": str(page)} if page is not None else {}),
        },
        human=lambda console: show(console, checked, by, balance),
        ids=[proposed["stack"] if proposed else checked.stack]
        if balance
        else checked.comparison.labels,
    )
    if checked.comparison.refused:
        raise typer.Exit(1)


def _say_why(checked: Checked, out: Output) -> None:
    """Why no strengths are proposed, where the table does not say so."""
    from lorakit.merging.checking.balance import balanced_or_why

    found = checked.comparison
    why = balanced_or_why(found.whole, found.strengths)
    if isinstance(why, str):
        out.warn(f"{why} The strengths stay as they are.")


def _write(checked: Checked, path: Path) -> None:
    from lorakit.cli.report import write_page
    from lorakit.report.check_page import check_page

    write_page(path, check_page(checked.comparison, checked.usual, base=checked.base))
