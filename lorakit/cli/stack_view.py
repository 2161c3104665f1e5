"""The plan of a stack for a person: its entries, what is touched, the licence in four answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorakit.counting import counted_rows

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.fusion.plan import FusionPlan, PlanEntry
    from lorakit.fusion.sizes import EntrySize
    from lorakit.licenses.policy import Verdict

# A change beside the weights that the entry itself changes, not beside the whole base.
TOUCHED = "of touched"
# A checkpoint holds these two; the text encoder is a file of its own.
_BASE_COMPONENTS = ("dit", "llm_adapter")


def show_plan(
    console: Console,
    base_name: str,
    plan: FusionPlan,
    verdict: Verdict,
    sizes: Sequence[EntrySize] | None = None,
) -> None:
    """Show what a stack does to the base `base_name`, with the `sizes` of its entries where they were measured."""
    from lorakit.cli.license_view import answer_rows
    from lorakit.cli.render import block_map, facts, heading, notes, rows
    from lorakit.licenses.answers import answers

    heading(
        console,
        f"Stack on {base_name}",
        f"{plan.base.label}, {counted_rows(plan.base.blocks, 'block')}",
    )
    ranks = plan.total_ranks
    if plan.entries:
        _show_entries(console, plan)
        block_map(console, ranks, plan.base.blocks)
    else:
        console.print("The stack is empty: the base stays as it is.")
    if sizes is not None:
        rows(
            console,
            ("entry", TOUCHED, "rounded away"),
            [
                (
                    entry.label,
                    f"{100 * size.relative_touched:.2f} %",
                    f"{100 * size.lost:.1f} %",
                )
                for entry, size in zip(plan.entries, sizes, strict=True)
            ],
            right=(TOUCHED, "rounded away"),
        )
    facts(
        console,
        [
            (
                "touched",
                f"{len(ranks)} of {len(ranks) + len(plan.untouched)} weight matrices of the base",
            ),
            ("total rank", _span(list(ranks.values()))),
            ("merged weights", _memory(plan)),
            *answer_rows(answers(verdict)),
        ],
    )
    notes(console, [note for entry in plan.entries for note in _entry_notes(entry)])


def _show_entries(console: Console, plan: FusionPlan) -> None:
    from lorakit.cli.blockmap import untouched
    from lorakit.cli.render import counted, facts, rows

    rows(
        console,
        ("entry", "strength", "algo", "rank", "modules", "not touched"),
        [
            (
                entry.label,
                _strength(entry),
                ", ".join(entry.report.algos),
                counted(entry.ranks),
                str(len(entry.changed)),
                "; ".join(untouched(entry.changed, plan.base.blocks, _BASE_COMPONENTS)),
            )
            for entry in plan.entries
        ],
        right=("strength", "modules"),
    )
    refined = [entry for entry in plan.entries if not entry.strength.is_plain]
    facts(console, [(entry.label, str(entry.strength)) for entry in refined])


def _strength(entry: PlanEntry) -> str:
    """The base; a refined strength is written out below the table."""
    from lorakit.strengths.text import number

    base = number(entry.strength.base)
    return base if entry.strength.is_plain else f"{base}@..."


def _memory(plan: FusionPlan) -> str:
    from lorakit.cli.render import size

    if not plan.extra_bytes:
        return "in memory only"
    held = len(plan.base.eight_bit & plan.total_ranks.keys())
    are = "is" if held == 1 else "are"
    return (
        f"in memory only; {counted_rows(held, 'weight')} stored in 8 bits {are} held in bf16, which takes "
        f"{size(plan.extra_bytes)} more"
    )


def _span(ranks: list[int]) -> str:
    low, high = min(ranks, default=0), max(ranks, default=0)
    return f"{high} a module" if low == high else f"{low} to {high} a module"


def _entry_notes(entry: PlanEntry) -> list[str]:
    found = []
    if entry.targets and not entry.changed:
        found.append(f"{entry.label} has strength 0 and changes nothing.")
    if entry.text_encoder:
        found.append(
            f"{entry.label}: {counted_rows(len(entry.text_encoder), 'module')} of the text encoder; "
            "previews fuse that part there, in float32."
        )
    if entry.missed:
        found.append(
            f"{entry.label}: {', '.join(entry.missed)} meets none of its {len(entry.report.modules)} "
            "modules and does nothing."
        )
    found += [f"{entry.label}: {remark}" for remark in entry.beside_root]
    if entry.strength.is_scheduled:
        found.append(
            f"{entry.label} holds in some denoising steps only: previews re-fuse it between steps."
        )
    if entry.remapped:
        found.append(f"{entry.label} was made for fewer blocks; its blocks are renumbered.")
    if entry.unmatched:
        found.append(
            f"{entry.label}: {counted_rows(len(entry.unmatched), 'module')} left out that this base lacks, "
            f"such as {entry.unmatched[0]}."
        )
    if entry.report.unused_keys:
        found.append(
            f"{entry.label}: {counted_rows(len(entry.report.unused_keys), 'key')} not used, such as "
            f"{entry.report.unused_keys[0]}."
        )
    return found + [f"{entry.label}: {note}" for note in entry.report.remarks]
