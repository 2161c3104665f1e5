"""`lorakit sync`: ask Civitai, by hash, what it knows of the adapters in the catalog."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.curating import Names, step_text
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.counting import counted_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from lorakit.network.http import Server
    from lorakit.network.matching import Match, Subject
    from lorakit.network.sync import Plan, Synced

EXAMPLE = "lorakit sync --dry-run"
_MOST_REMARKS = 20


def sync_verb(
    names: Names = None,
    licenses_only: Annotated[
        bool, typer.Option("--licenses-only", help="Keep what is said of terms, and nothing else.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Ask also about what was asked in the last 7 days.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked; send and change nothing.")
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Ask another server than https://civitai.com."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask Civitai, by hash, for names, trigger words and permissions of adapters.

    Without NAME, of all. Only hashes of files are sent. What comes back is kept
    as Civitai's word beside your own; `lorakit undo` takes facts and tags back,
    and terms stay. LORAKIT_OFFLINE=1 forbids it.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters
    from lorakit.network.offline import check_online
    from lorakit.network.sync import plan_sync, run_sync

    out = Output.of("sync", json, quiet)
    if not dry_run:
        check_online("`lorakit sync`")
    asked = _server(server, out)
    with open_catalog() as catalog:
        records = select_adapters(catalog, names, out) if names else catalog.adapters()
        waiting = sum(record.pending for record in records)
        if waiting:
            count = counted_rows(waiting, "adapter")
            out.warn(f"{count} left out, of which the header alone was read: lorakit scan")
        plan = plan_sync(
            catalog, records, asked, licenses_only=licenses_only, everything=everything
        )
        if dry_run:
            _tell_plan(out.about("plan"), plan, asked)
            return
        words = ["--licenses-only"] if licenses_only else []
        command = step_text("sync", records if names else [], *words)
        with out.progress("Asking Civitai") as update:
            synced = run_sync(
                catalog, plan, asked, update, licenses_only=licenses_only, command=command
            )
    _tell(out, plan, synced, asked)
    if synced.interrupted:
        raise KeyboardInterrupt
    if synced.trouble is not None:
        raise synced.trouble


def _server(named: str | None, out: Output) -> Server:
    from lorakit.network.civitai import CIVITAI
    from lorakit.network.http import server_at

    address = named or os.environ.get("LORAKIT_CIVITAI") or CIVITAI
    return server_at(address, os.environ.get("CIVITAI_API_KEY"), out.say)


def _tell_plan(out: Output, plan: Plan, server: Server) -> None:
    hashes = sorted(sha256 for one in plan.wanted for sha256 in one.hashes)

    def human(console: Console) -> None:
        from lorakit.cli.render import facts

        facts(
            console,
            [
                ("would ask", server.address),
                ("about", _names(plan.wanted)),
                ("sending", f"{len(hashes)} SHA-256, and nothing else"),
                ("asked of late", str(len(plan.recent)) if plan.recent else None),
            ],
        )

    out.result(
        {
            "server": server.address,
            "dry_run": True,
            "wanted": [one.name for one in plan.wanted],
            "recent": [one.name for one in plan.recent],
            "hashes": hashes,
        },
        human,
        ids=[one.name for one in plan.wanted],
    )


def _tell(out: Output, plan: Plan, synced: Synced, server: Server) -> None:
    taken = [one for one in synced.matches if one.taken is not None]
    out.result(
        {
            "server": server.address,
            "dry_run": False,
            "found": [_found(one) for one in synced.matches],
            "unknown": [one.name for one in synced.unknown],
            "unanswered": [one.name for one in synced.unanswered],
            "recent": [one.name for one in plan.recent],
            "changed": synced.changed,
            "claims": synced.claims,
            "step": synced.step,
            "remarks": synced.remarks,
            "trouble": synced.trouble and synced.trouble.message,
            "interrupted": synced.interrupted,
        },
        human=lambda console: _show(console, plan, synced, server),
        ids=[one.subject.name for one in taken],
    )
    for remark in synced.remarks[:_MOST_REMARKS]:
        out.warn(remark)
    if (rest := len(synced.remarks) - _MOST_REMARKS) > 0:
        out.warn(f"{counted_rows(rest, 'remark')} more; --json has them all.")
    if synced.step is not None and synced.changed:
        out.say(f"To take facts and tags back: lorakit undo {synced.step}")
    if synced.interrupted:
        out.warn("Stopped. What had been answered is kept; the same command goes on from there.")


def _show(console: Console, plan: Plan, synced: Synced, server: Server) -> None:
    from lorakit.cli.render import facts

    recent = f"{len(plan.recent)}; --all asks about them again" if plan.recent else None
    if not plan.wanted:
        facts(console, [("asked", "nothing"), ("asked of late", recent)])
        return
    taken = [one.subject for one in synced.matches if one.taken is not None]
    others = [one.subject for one in synced.matches if one.taken is None]
    facts(
        console,
        [
            ("asked", server.address),
            (f"known to {server.host}", _names(taken)),
            ("not shown", _names(others) if others else None),
            ("not known to it", _names(synced.unknown) if synced.unknown else None),
            ("not answered", _names(synced.unanswered) if synced.unanswered else None),
            ("asked of late", recent),
            ("news", f"of {counted_rows(synced.changed, 'adapter')}" if synced.changed else "none"),
            ("terms", f"{synced.claims} new" if synced.claims else "nothing new"),
        ],
    )


def _found(one: Match) -> dict[str, Any]:
    """One adapter that Civitai lists; model and version are None where it shows neither."""
    taken = one.taken
    return {
        "name": one.subject.name,
        "content": one.subject.content,
        "model": taken.found.model if taken else None,
        "version": taken.found.version if taken else None,
        "also": [c.found.version for c in one.candidates if c is not taken],
    }


def _names(found: Iterable[Subject], most: int = 5) -> str:
    names = [one.name for one in found]
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"
