"""`lorakit license audit`: every licence decision, and whether the record of them is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.counting import counted_rows
from lorakit.errors import CatalogError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog.records import AuditCheck, DecisionRecord

EXAMPLE = "lorakit license audit --verify"


def audit(
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check that no decision was changed or taken out; exit code 1 where one was.",
        ),
    ] = False,
    number: Annotated[
        int | None, typer.Option("--show", metavar="NUMBER", help="One decision in full.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List every licence decision, allowed or refused, the latest last.

    Decisions are only ever added, each with a hash over the one before. A file that was allowed carries
    the hash of its decision, in its header and in the notice beside it.
    """
    from lorakit.cli.catalogs import open_catalog

    out = Output.of("license audit", json, quiet)
    with open_catalog() as catalog:
        check = catalog.check_audit() if verify else None
        decisions = [] if verify and check and check.broken else catalog.decisions()
    if check is not None and check.broken is not None:
        raise _broken(check)
    if number is not None:
        decisions = [one for one in decisions if one.id == number]
        if not decisions:
            raise CatalogError(f"There is no decision {number}.")
    document: dict[str, Any] = {"decisions": decisions}
    if check is not None:
        document = {"check": check}
    out.result(
        document,
        human=lambda console: _show(console, check, decisions, full=number is not None),
        ids=[check.head] if check else [str(one.id) for one in decisions],
    )


def _broken(check: AuditCheck) -> CatalogError:
    before = (check.broken or 1) - 1
    sound = f"What stands before it ({before}) is as it was written." if before else ""
    return CatalogError(
        f"The audit is not as it was written: {check.reason}. {sound}".rstrip(),
        hint="Copies of the catalog that were made before updates lie beside it, named .bak-*.",
    )


def _show(
    console: Console, check: AuditCheck | None, decisions: list[DecisionRecord], *, full: bool
) -> None:
    if check is not None:
        console.print(f"{counted_rows(check.count, 'decision')}, each as it was written.")
        if check.head:
            console.print(f"The last is {check.head}.")
    elif not decisions:
        console.print("No decision yet: `lorakit export` makes them.", style="dim")
    elif full:
        _show_one(console, decisions[0])
    else:
        _show_all(console, decisions)


def _show_all(console: Console, decisions: list[DecisionRecord]) -> None:
    from lorakit.cli.render import rows

    rows(
        console,
        ("no.", "when", "verdict", "what", "decided by"),
        [
            (
                str(one.id),
                f"{one.at.astimezone():%Y-%m-%d %H:%M}",
                one.verdict,
                _what(one),
                ", ".join(_deciding(one)),
            )
            for one in decisions
        ],
        right=("no.",),
    )
    console.print("`lorakit license audit --show NUMBER` shows a decision in full.", style="dim")


def _show_one(console: Console, one: DecisionRecord) -> None:
    from lorakit.cli.render import facts, heading, notes

    heading(console, f"Decision {one.id}: {one.verdict}", _what(one))
    facts(
        console,
        [
            ("when", f"{one.at.astimezone():%Y-%m-%d %H:%M:%S %Z}"),
            ("file", str(one.subject.get("file", ""))),
            ("share merges", str(one.subject.get("share_merges", "")).replace("_", " ")),
            ("hash", one.hash),
        ],
    )
    for ingredient in _ingredients(one):
        _show_part(console, ingredient)
    notes(console, [str(reason) for reason in one.subject.get("reasons", [])])


def _show_part(console: Console, part: dict[str, Any], depth: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from lorakit.cli.output import visible

    at = f" at strength {part['strength']}" if part.get("strength") else ""
    name = part.get("relation") or f"{part.get('name')}{at}"
    shares = str(part.get("share_merges", "unknown")).replace("_", " ")
    lines = [f"{name} ({part.get('title')}): {shares} [{part.get('source')}]"]
    lines += [f"{key} {part[key]}" for key in ("sha256", "content") if part.get(key)]
    for line in lines:
        console.print(Padding(Text(visible(line)), (0, 0, 0, 2 + 2 * depth)))
    for ancestor in part.get("ancestors") or []:
        _show_part(console, ancestor, depth + 1)


def _ingredients(one: DecisionRecord) -> list[dict[str, Any]]:
    found = one.subject.get("ingredients", [])
    return [part for part in found if isinstance(part, dict)]


def _what(one: DecisionRecord) -> str:
    """What was to be written; decisions from before the gate know of a stack alone."""
    return str(one.subject.get("what") or one.subject.get("stack") or one.action)


def _deciding(one: DecisionRecord) -> list[str]:
    """The names of the ingredients whose own terms, or whose ancestors' terms, are the strictest."""
    share = one.subject.get("share_merges")

    def holds(part: dict[str, Any]) -> bool:
        return part.get("share_merges") == share or any(map(holds, part.get("ancestors") or []))

    return [str(part.get("name")) for part in _ingredients(one) if holds(part)]
