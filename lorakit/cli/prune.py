"""`lorakit prune`: an adapter without some of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import AdapterName, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.workshop import DryRun, Dtype, Layout, OutputFile, Overwrite

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from lorakit.licenses.policy import Verdict
    from lorakit.merging.pruning import Pruned
    from lorakit.merging.writing import WrittenAdapter

EXAMPLE = "lorakit prune ink --component llm_adapter -o ink-dit.safetensors"


def prune_verb(
    name: AdapterName,
    output: OutputFile = None,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", help="dit, llm_adapter or text_encoder; may be repeated."),
    ] = None,
    blocks: Annotated[
        str | None, typer.Option(metavar="SPANS", help="Blocks, such as 0-2,20-27.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS", help="Of self_attn, cross_attn, mlp, adaln and root, with commas."
        ),
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--modules",
            metavar="PATTERN",
            help="Modules, such as 'blocks.*.mlp.*'; may be repeated.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what is named, and leave out all else.")
    ] = False,
    layout: Layout = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an adapter without some of its components, blocks, kinds or modules.

    What every option given names goes: --blocks 0-2 --kinds mlp is the mlp
    of three blocks. Without -o the result lies beside its source.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.workshop import beside, chosen_dtype, chosen_layout, dry_document, find_one
    from lorakit.gate import judge_derived
    from lorakit.merging.converting import own_layout
    from lorakit.merging.pruning import Cut, parse_blocks, prune, what_goes

    out = Output.of("prune", json, quiet)
    wanted = chosen_layout(layout)
    cut = Cut(
        tuple(component or ()),
        parse_blocks(blocks),
        tuple(part.strip() for part in (kinds or "").split(",") if part.strip()),
        tuple(modules or ()),
        keep,
    )
    with open_catalog() as catalog, out.progress("Pruning") as update:
        entry = find_one(catalog, name)
        target = output or beside(entry.path, "pruned", wanted or own_layout(entry.report))
        found = what_goes(entry, cut)
        if dry_run:
            verdict = judge_derived(catalog, "re-encoded adapter", [entry])
            out.result(
                dry_document(verdict, target, found.to_dict()),
                human=lambda console: _show_plan(console, found, verdict, target),
                ids=[str(target)],
            )
            return
        done = prune(
            catalog,
            entry,
            cut,
            target,
            layout=wanted,
            dtype=chosen_dtype(dtype),
            overwrite=overwrite,
            on_progress=update,
        )
    out.result(
        {**done.to_dict(), **found.to_dict()},
        human=lambda console: _show(console, found, done),
        ids=[str(done.written.path)],
    )


def _show_plan(console: Console, found: Pruned, verdict: Verdict, target: Path) -> None:
    from lorakit.cli.workshop import show_verdict

    _show_parts(console, found)
    show_verdict(console, verdict, [("would write", str(target))])


def _show(console: Console, found: Pruned, done: WrittenAdapter) -> None:
    from lorakit.cli.workshop import show_written

    _show_parts(console, found)
    show_written(console, done)


def _show_parts(console: Console, found: Pruned) -> None:
    """What goes, by kind, and how much of the energy that is."""
    from lorakit.cli.render import notes, rows

    parts = [*found.parts, *([found.total] if len(found.parts) > 1 else [])]
    rows(
        console,
        ("kind", "kept", "dropped", "share of the energy dropped"),
        [
            (
                part.kind,
                str(part.stay),
                str(part.go),
                "not known" if part.share is None else f"{part.share:.2%}",
            )
            for part in parts
        ],
        right=("kept", "dropped", "share of the energy dropped"),
    )
    if found.blocks:
        notes(console, [f"Nothing is left in blocks {', '.join(map(str, found.blocks))}."])
    if found.missed:
        notes(console, [f"No module of it fits {' or '.join(map(repr, found.missed))}."])
    if found.total.share is None:
        notes(console, ["What it changes depends on a base, so energies are not known."])
