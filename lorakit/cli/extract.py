"""`lorakit extract`: an adapter from the difference of two checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import BaseName, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.workshop import Device, DryRun, Dtype, Layout, Overwrite
from lorakit.counting import counted_rows

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.merging.extracting.report import ExtractedKind, ExtractionReport
    from lorakit.merging.writing import WrittenAdapter

_NAMELESS = "have names of no part of the model and are"
EXAMPLE = "lorakit extract my-finetune --base anima -o my-finetune-lora.safetensors"


def extract_verb(
    tuned: Annotated[
        str,
        typer.Argument(
            metavar="TUNED",
            help="The checkpoint that was made from the base: a registered one, or its file.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The .safetensors file to write; for peft, a folder."),
    ],
    base: BaseName = None,
    rank: Annotated[
        int | None, typer.Option(help="This many components of every matrix that differs.")
    ] = None,
    energy: Annotated[
        float | None,
        typer.Option(help="As few as hold this share of the difference, such as 0.99."),
    ] = None,
    most: Annotated[
        int, typer.Option("--max-rank", help="The highest rank where none is given.")
    ] = 128,
    biases: Annotated[bool, typer.Option("--biases", help="Take biases along, in full.")] = False,
    norms: Annotated[bool, typer.Option("--norms", help="Take norms along, in full.")] = False,
    layout: Layout = None,
    dtype: Dtype = None,
    seed: Annotated[int, typer.Option(help="Where the search for components begins.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write what a checkpoint changed of its base as an adapter.

    The terms of both have to allow it. With neither --rank nor --energy every
    matrix gets the rank at which its difference sinks into the noise of
    rounding, since nothing below can be found again. What is missing of the
    difference is measured and shown.
    """
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.workshop import chosen_device, chosen_dtype, chosen_layout, say_verdict
    from lorakit.merging.extracting.extract_to_file import (
        DEFAULT_DTYPE,
        DEFAULT_LAYOUT,
        Wanted,
        extract_to_file,
    )

    out = Output.of("extract", json, quiet)
    written_layout = chosen_layout(layout) or DEFAULT_LAYOUT
    wanted = Wanted(rank, energy, most, norms, biases, chosen_dtype(dtype) or DEFAULT_DTYPE, seed)
    wanted.check()
    device = chosen_device(device)
    with open_catalog() as catalog:
        pair = choose_base(catalog, tuned), choose_base(catalog, base)
        if dry_run:
            from lorakit.gate import judge_derived

            say_verdict(out, judge_derived(catalog, "extracted adapter", pair), output)
            return
        with out.progress("Extracting") as update:
            done, report = extract_to_file(
                catalog,
                *pair,
                wanted,
                output,
                layout=written_layout,
                device=device,
                overwrite=overwrite,
                on_progress=update,
            )
    out.result(
        {**done.to_dict(), "report": report.to_dict()},
        human=lambda console: show(console, done, report, pair[0].name),
        ids=[str(done.written.path)],
    )


def show(console: Console, done: WrittenAdapter, report: ExtractionReport, tuned: str) -> None:
    """What was found, by kind, and what was written; `tuned` is what the checkpoint is called."""
    from lorakit.cli.render import notes, rows
    from lorakit.cli.workshop import share, show_written, span

    kinds = [*report.kinds, *([report.total] if len(report.kinds) > 1 else [])]
    rows(
        console,
        ("kind", "modules", "rank", "change", "kept", "rounding"),
        [
            (
                one.kind,
                str(one.modules),
                span(one.ranks) or "in full",
                _percent(one.relative),
                share(one.retained) if one.retained < 0.9999995 else "all",
                _percent(one.rounded) if one.ranks else "",
            )
            for one in kinds
        ],
        right=("modules", "rank", "change", "kept", "rounding"),
    )
    if report.total.ranks and report.total.rounded >= 1e-5:
        console.print(_on_rounding(report.total, tuned))
    notes(console, _left_out(report))
    show_written(console, done)


def _on_rounding(total: ExtractedKind, tuned: str) -> str:
    return (
        f"Rounding is {_percent(total.rounded)} of what differs, since {tuned} stores its weights in few "
        "digits, and cannot be told from the rest below these ranks. A change of these ranks is found "
        f"again to about {_percent(total.floor)} of its size."
    )


def _left_out(report: ExtractionReport) -> list[str]:
    """What is not in the adapter."""
    found = []
    if report.below_rounding:
        found.append(
            f"{_matrices(report.below_rounding, 'differs', 'differ')} by no more than rounding and left out."
        )
    if report.limited:
        found.append(
            f"{_matrices(report.limited, 'holds', 'hold')} more than fits the highest rank, {report.most}: "
            "--max-rank raises it."
        )
    if report.left_out:
        found.append(
            f"Norms and biases that differ, too: {len(report.left_out)}, such as {report.left_out[0]}. "
            "--norms and --biases take them along."
        )
    if report.one_sided:
        found.append(
            f"{_counted(report.one_sided, 'is', 'are')} in one of the checkpoints only and left out, such "
            f"as {report.one_sided[0]}."
        )
    if report.unknown:
        found.append(
            f"{_counted(report.unknown, 'has a name of no part of the model and is', _NAMELESS)} not the same in "
            f"both: left out, such as {report.unknown[0]}."
        )
    return found


def _matrices(names: Sequence[str], one: str, several: str) -> str:
    """`1 matrix differs`, `3 matrices differ`."""
    return f"1 matrix {one}" if len(names) == 1 else f"{len(names)} matrices {several}"


def _counted(names: Sequence[str], one: str, several: str) -> str:
    """`1 tensor is`, `3 tensors are`."""
    return f"{counted_rows(len(names), 'tensor')} {one if len(names) == 1 else several}"


def _percent(value: float | None) -> str:
    """A share with two digits that say something."""
    if value is None:
        return ""
    if value < 1e-5:
        return "0"
    return f"{value * 100:.2g}%" if value < 0.995 else f"{value * 100:.0f}%"
