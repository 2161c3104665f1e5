"""`lorakit stack`: the plan of a stack, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import BaseName, Force, Json, Quiet, StackText
from lorakit.cli.output import Output
from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.fusion.plan import FusionPlan, PlanEntry
    from lorakit.licenses.policy import Verdict

# A checkpoint holds these two; the text encoder is a file of its own.
BASE_COMPONENTS = ("dit", "llm_adapter")
EXAMPLE = 'lorakit stack "ink:0.8 wash:0.5" --base rdbt'


def stack_verb(
    stack: StackText,
    base: BaseName = None,
    save: Annotated[
        Path | None, typer.Option(help="Also write the stack to this file (.toml).")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a stack would do: what each entry touches, total rank, licence verdict."""
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.fusion.plan import BaseModules, plan_fusion
    from lorakit.licenses.policy import judge
    from lorakit.stack import Stack, resolve_stack

    out = Output.of("stack", json, quiet)
    parsed = Stack.parse(stack)
    with open_catalog() as catalog:
        chosen = choose_base(catalog, base)
        entries = resolve_stack(parsed, catalog)
    checkpoint = read_checkpoint(chosen.path)
    plan = plan_fusion(
        BaseModules.of(checkpoint), [(e.name, e.strength, e.report) for e in entries]
    )
    verdict = judge([chosen.ingredient(), *(entry.ingredient() for entry in entries)])
    if save is not None:
        save_stack(parsed, save, force)
        out.say(f"Saved as {save}.")
    out.result(
        {
            "stack": str(parsed),
            "base": chosen.name,
            "plan": plan.to_dict(),
            "verdict": verdict.to_dict(),
        },
        human=lambda console: show(console, chosen.name, plan, verdict),
        ids=[entry.name for entry in entries],
    )


def save_stack(stack: object, path: Path, force: bool) -> None:
    """Write a stack file. Raises `BadUsage` for what is there already or a name without .toml."""
    from lorakit.stack import Stack

    assert isinstance(stack, Stack)
    if path.suffix != ".toml":
        raise BadUsage(f"A stack file ends in .toml, and {path} does not.")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(stack.to_toml())
    except FileExistsError as error:
        raise BadUsage(f"{path} exists already.", hint="--force overwrites it.") from error
    except OSError as error:
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error


def show(console: Console, base_name: str, plan: FusionPlan, verdict: Verdict) -> None:
    """The plan for a person."""
    from lorakit.cli.blockmap import untouched
    from lorakit.cli.render import block_map, counted, facts, heading, notes, rows

    heading(console, f"Stack on {base_name}", f"{plan.base.label}, {plan.base.blocks} blocks")
    rows(
        console,
        ("entry", "strength", "algo", "rank", "modules", "not touched"),
        [
            (
                entry.label,
                f"{entry.strength:g}",
                ", ".join(entry.report.algos),
                counted(entry.ranks),
                str(len(entry.targets)),
                "; ".join(untouched(entry.targets.values(), plan.base.blocks, BASE_COMPONENTS)),
            )
            for entry in plan.entries
        ],
        right=("strength", "modules"),
    )
    ranks = plan.total_ranks
    block_map(console, ranks, plan.base.blocks)
    facts(
        console,
        [
            ("touched", f"{len(ranks)} of {len(ranks) + len(plan.untouched)} weight matrices of the base"),
            ("total rank", _span(list(ranks.values()))),
            ("in memory", "yes: previews never write merged weights"),
            ("share merge", _verdict(verdict)),
        ],
    )
    notes(console, [note for entry in plan.entries for note in _entry_notes(entry)])


def _span(ranks: list[int]) -> str:
    low, high = min(ranks, default=0), max(ranks, default=0)
    return f"{high} a module" if low == high else f"{low} to {high} a module"


def _verdict(verdict: Verdict) -> str:
    if verdict.allowed:
        extra = f", with {len(verdict.obligations)} obligations" if verdict.obligations else ""
        return f"allowed{extra}"
    word = "unknown, so denied" if verdict.share_merges == "unknown" else "denied"
    return f"{word}: " + " ".join(verdict.reasons)


def _entry_notes(entry: PlanEntry) -> list[str]:
    found = []
    if not entry.strength:
        found.append(f"{entry.label} has strength 0 and changes nothing.")
    if entry.remapped:
        found.append(f"{entry.label} was made for fewer blocks; its blocks are renumbered.")
    if entry.unmatched:
        found.append(
            f"{entry.label}: {len(entry.unmatched)} modules are not in this base and are left out, "
            f"such as {entry.unmatched[0]}."
        )
    if entry.report.unused_keys:
        found.append(
            f"{entry.label}: {len(entry.report.unused_keys)} keys are not used, such as "
            f"{entry.report.unused_keys[0]}."
        )
    return found + [f"{entry.label}: {note}" for note in entry.report.notes]
