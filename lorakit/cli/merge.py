"""`lorakit merge`: several adapters as one adapter file, where every licence allows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.complete import complete_stacks
from lorakit.cli.options import BaseName, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.workshop import (
    Device,
    DryRun,
    Dtype,
    EnergyShare,
    FrobeniusShare,
    Layout,
    OutputFile,
    Overwrite,
    RankCount,
    SvRatioBound,
)
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.fusion.plan import FusionPlan
    from lorakit.licenses.policy import Verdict
    from lorakit.merging.merge_to_file import MergePlan
    from lorakit.merging.report import MergeReport
    from lorakit.merging.writing import WrittenAdapter

EXAMPLE = "lorakit merge ink:0.8 wash:0.5 -o mix.safetensors"


def merge_verb(
    stack: Annotated[
        list[str],
        typer.Argument(
            metavar="STACK",
            help="Adapters with strengths, ink:0.8 wash:0.5@kinds=mlp:0; a kept stack, a stack file, recipe "
            "or picture.",
            show_default=False,
            autocompletion=complete_stacks,
        ),
    ],
    output: OutputFile = None,
    method: Annotated[
        str,
        typer.Option(help="sum (exact), ties, dare, della, tsv, iso, knots, core or ctm."),
    ] = "sum",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the method; may be repeated."
        ),
    ] = None,
    rank: RankCount = None,
    energy: EnergyShare = None,
    sv_ratio: SvRatioBound = None,
    frobenius: FrobeniusShare = None,
    full_diffs: Annotated[
        bool, typer.Option("--full-diffs", help="Store in full what is no product of thin factors.")
    ] = False,
    base: BaseName = None,
    seed: Annotated[int, typer.Option(help="For methods that draw by chance.")] = 0,
    layout: Layout = None,
    dtype: Dtype = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge adapters into one file, exactly or to a rank, if every licence allows it.

    Without a rank the sum is exact: ranks add up. What DoRA, OFT and others
    change depends on --base, which counts as an ingredient then. A refusal
    ends with exit code 3; --dry-run tells beforehand.
    """
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.stack_argument import given_stack, quoted
    from lorakit.cli.workshop import chosen_device, chosen_dtype, chosen_layout
    from lorakit.merging.merge_to_file import MergePlan, merge_to_file
    from lorakit.merging.ranks import rank_rule
    from lorakit.stack import resolve_stack

    out = Output.of("merge", json, quiet)
    if output is None and not dry_run:
        raise BadUsage("There is no -o FILE to write to.", hint=f"For example: {EXAMPLE}")
    rule = rank_rule(rank, energy, sv_ratio, frobenius)
    wanted_layout, wanted_dtype = chosen_layout(layout), chosen_dtype(dtype)
    device = chosen_device(device)
    found = given_stack(" ".join(map(quoted, stack)), out, base=base)
    if not found.stack.entries:
        raise BadUsage("The stack is empty: there is nothing to merge.")
    with open_catalog() as catalog, out.progress("Merging") as update:
        plan = MergePlan(
            resolve_stack(found.stack, catalog),
            str(found.stack),
            method,
            rule,
            None,
            seed,
            full_diffs,
            _settings(settings or []),
            wanted_layout,
            wanted_dtype,
            device,
        )
        if plan.needs_base or base is not None:
            plan = replace(plan, base=choose_base(catalog, found.base))
        if dry_run or output is None:
            _dry(catalog, out, plan, output)
            return
        done, report = merge_to_file(catalog, plan, output, overwrite=overwrite, on_progress=update)
    out.result(
        {**done.to_dict(), "report": report.to_dict()},
        human=lambda console: _show(console, done, report),
        ids=[str(done.written.path)],
    )


def _settings(given: list[str]) -> dict[str, float | str]:
    """NAME=VALUE pairs. Raises `BadUsage` for another form."""
    found: dict[str, float | str] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise BadUsage(
                f"{one!r} is no setting of a method.", hint="Write it like --set density=0.3."
            )
        found[name.strip()] = value.strip()
    return found


def _dry(catalog: Catalog, out: Output, plan: MergePlan, output: Path | None) -> None:
    from lorakit.gate import judge_derived
    from lorakit.merging.merge_to_file import ranks_in, record

    planned = plan.check()
    verdict = judge_derived(catalog, "merged adapter", plan.ingredients)
    document = {
        "dry_run": True,
        "path": str(output) if output else None,
        "stack": plan.stack,
        "blocks": planned.base.blocks,
        "modules": len(planned.total_ranks),
        "ranks_in": {str(rank): count for rank, count in ranks_in(planned).items()},
        "needs_base": plan.needs_base,
        "made": record(plan),
        "verdict": verdict.to_dict(),
    }
    out.result(
        document,
        human=lambda console: _show_plan(console, plan, planned, verdict),
        ids=[str(verdict.share_merges)],
    )


def _show_plan(console: Console, plan: MergePlan, planned: FusionPlan, verdict: Verdict) -> None:
    """What would be done, and whether it may be."""
    from lorakit.cli.render import counted, notes
    from lorakit.cli.workshop import show_verdict
    from lorakit.merging.merge_to_file import ranks_in

    ranks = ranks_in(planned)
    show_verdict(
        console,
        verdict,
        [
            ("stack", plan.stack),
            ("method", plan.method),
            ("made for", counted_rows(planned.base.blocks, "block")),
            ("modules", str(len(planned.total_ranks))),
            ("ranks add up to", counted(ranks) if ranks else None),
            ("written with", str(plan.rule) if plan.rule else None),
            ("as", f"{plan.written_layout}, {plan.written_dtype}"),
        ],
    )
    if plan.needs_base and plan.base is not None:
        notes(console, [f"What one of them changes depends on the base: {plan.base.name} is used."])


def _show(console: Console, done: WrittenAdapter, report: MergeReport) -> None:
    from lorakit.cli.workshop import rounding_words, show_report, show_written

    show_report(console, report)
    if report.exact:
        what = (
            "The merge is exact"
            if report.method == "sum"
            else f"All that {report.method} gives is kept"
        )
        rounded = "; what rounding to the written numbers does stands below"
        console.print(f"{what}{rounded if rounding_words(done) else ''}.")
    show_written(console, done)
