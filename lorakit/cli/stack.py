"""`lorakit stack`: the plan of a stack, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.complete import complete_stacks
from lorakit.cli.options import BaseName, Force, Json, Quiet
from lorakit.cli.output import Output
from lorakit.errors import BadUsage
from lorakit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.bases import ChosenBase
    from lorakit.fusion.sizes import EntrySize
    from lorakit.stack import ResolvedEntry

EXAMPLE = 'lorakit stack "ink:0.8 wash:0.5@blocks=0-9:0" --base rdbt'


def stack_verb(
    stack: Annotated[
        str | None,
        typer.Argument(
            metavar="STACK",
            help='Adapters with strengths, "ink:0.8 wash:0.5@kinds=mlp:0"; a kept stack by name; or a stack '
            "file, recipe or picture.",
            show_default=False,
            autocompletion=complete_stacks,
        ),
    ] = None,
    base: BaseName = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="List the presets that @lbw= takes, and stop.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Also measure each entry's change next to the base, and what rounding loses of it.",
        ),
    ] = False,
    dtype: Annotated[
        str,
        typer.Option(
            help="Measure as --plan does, rounding to bf16, fp16 or fp32; auto is the base's own."
        ),
    ] = "auto",
    save: Annotated[
        Path | None, typer.Option(help="Also write the stack to this file (.toml).")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also keep the stack in the catalog as NAME.")
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With --keep: what the stack is for.")
    ] = None,
    list_kept: Annotated[
        bool, typer.Option("--list", help="List the kept stacks, and stop.")
    ] = False,
    show_one: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="NAME",
            help="Show the kept stack NAME with the pictures made with it, and stop.",
        ),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Keep the stack NAME no longer, and stop."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a stack would do: what each entry touches, and the licence."""
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.license_view import answers_document
    from lorakit.cli.stack_argument import given_stack
    from lorakit.cli.stack_kept import drop_kept, keep_stack, show_kept, show_one_kept
    from lorakit.cli.stack_view import show_plan
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.fusion.plan import BaseModules, plan_fusion
    from lorakit.gate.judging import dossiers_of, verdict_on
    from lorakit.licenses.answers import answers
    from lorakit.stack import resolve_stack

    if presets:
        _list_presets(Output.of("stack presets", json, quiet))
        return
    if list_kept:
        show_kept(Output.of("stack list", json, quiet))
        return
    if show_one is not None:
        show_one_kept(Output.of("stack show", json, quiet), show_one)
        return
    if drop is not None:
        drop_kept(Output.of("stack drop", json, quiet), drop)
        return
    if note is not None and keep is None:
        raise BadUsage("--note belongs to --keep NAME.")
    out = Output.of("stack", json, quiet)
    if stack is None:
        raise BadUsage("There is no STACK.", hint=f"For example: {EXAMPLE}")
    found = given_stack(stack, out, base=base)
    parsed = found.stack
    with open_catalog() as catalog:
        chosen = choose_base(catalog, found.base)
        entries = resolve_stack(parsed, catalog)
        dossiers = dossiers_of(catalog, (chosen, *entries))
    checkpoint = read_checkpoint(chosen.path)
    planned = plan_fusion(
        BaseModules.of(checkpoint), [(e.name, e.strength, e.report) for e in entries]
    )
    measured = plan or dtype != "auto"
    sizes = _measure(out, chosen.path, entries, dtype) if measured else None
    verdict = verdict_on(dossiers)
    for problem in dict.fromkeys(p for dossier in dossiers for p in dossier.problems):
        out.warn(problem)
    if save is not None:
        save_stack(chosen, entries, save, force)
        out.say(f"Saved as {save}.")
    if keep is not None:
        keep_stack(out, keep, chosen, entries, note, force)
    out.result(
        {
            "stack": str(parsed),
            "base": chosen.name,
            "plan": planned.to_dict(),
            **({"sizes": sizes, "sizes_dtype": dtype} if sizes is not None else {}),
            "answers": answers_document(answers(verdict)),
            "verdict": verdict.to_dict(),
        },
        human=lambda console: show_plan(console, chosen.name, planned, verdict, sizes),
        ids=[entry.name for entry in entries],
    )


def _measure(
    out: Output, base: Path, entries: Sequence[ResolvedEntry], dtype: str
) -> list[EntrySize]:
    from lorakit.fusion.sizes import measure_sizes, parse_dtype

    wanted = parse_dtype(dtype)
    with out.progress("Measuring") as update:
        return measure_sizes(
            base, [(e.path, e.strength) for e in entries], dtype=wanted, on_progress=update
        )


def _list_presets(out: Output) -> None:
    from lorakit.strengths import PRESETS

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        rows(console, ("preset", "applies to"), [(p.name, p.description) for p in PRESETS.values()])
        console.print("Use one as NAME:STRENGTH@lbw=PRESET, or in a prompt tag as lbw=PRESET.")

    out.result({"presets": [p.to_dict() for p in PRESETS.values()]}, human, ids=PRESETS)


def save_stack(base: ChosenBase, entries: Sequence[ResolvedEntry], path: Path, force: bool) -> None:
    """Write a stack file. Raises `BadUsage` for what is there already or a name without .toml."""
    from lorakit.sharing.shared import share
    from lorakit.sharing.stack_file import stack_file_text
    from lorakit.sharing.writing import RecipeKind, check_target, write_recipe

    target = expanded(path)
    check_target(target, RecipeKind.STACK, overwrite=force, flag="--overwrite")
    text = stack_file_text(share(base, entries), target.parent)
    write_recipe(target, RecipeKind.STACK, text, overwrite=force, flag="--overwrite")
