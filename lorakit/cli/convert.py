"""`lorakit convert`: one adapter in another layout, dtype or numbering of blocks, or a DoRA as a LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import AdapterName, BaseName, Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.workshop import DryRun, Dtype, Layout, OutputFile, Overwrite
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.bases import ChosenBase
    from lorakit.catalog import Catalog
    from lorakit.merging.converting import Conversion
    from lorakit.merging.report import MergeReport
    from lorakit.merging.writing import WrittenAdapter
    from lorakit.stack import ResolvedEntry

EXAMPLE = "lorakit convert ink --layout comfy -o ink-comfy.safetensors"


def convert_verb(
    name: AdapterName,
    output: OutputFile = None,
    layout: Layout = None,
    dtype: Dtype = None,
    blocks: Annotated[
        int | None, typer.Option(help="Renumber the blocks for a model of 40 or 52.")
    ] = None,
    dora_to_lora: Annotated[
        int | None,
        typer.Option(
            "--dora-to-lora",
            metavar="RANK",
            help="Turn DoRA into LoRA of this rank, on the weights of --base.",
        ),
    ] = None,
    base: BaseName = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an adapter in another layout or dtype, for a larger model, or a DoRA as a LoRA.

    Tensors keep their bytes unless a dtype is asked for, and the way back
    gives the same content. Without -o the result lies beside its source.
    """
    from lorakit.bases import choose_base
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.workshop import chosen_dtype, chosen_layout, find_one
    from lorakit.merging.converting import Conversion, convert
    from lorakit.merging.converting import dora_to_lora as as_lora

    out = Output.of("convert", json, quiet)
    wanted = Conversion(chosen_layout(layout), chosen_dtype(dtype), blocks)
    if base is not None and dora_to_lora is None:
        raise BadUsage("--base is for --dora-to-lora, which needs the weights of one.")
    with open_catalog() as catalog:
        entry = find_one(catalog, name)
        target = output or _beside(entry, wanted, dora_to_lora)
        chosen = None if dora_to_lora is None else choose_base(catalog, base)
        if dry_run:
            _dry(catalog, out, entry, chosen, target)
            return
        with out.progress("Converting") as update:
            if dora_to_lora is None or chosen is None:
                report = None
                done = convert(
                    catalog, entry, wanted, target, overwrite=overwrite, on_progress=update
                )
            else:
                done, report = as_lora(
                    catalog,
                    entry,
                    chosen,
                    dora_to_lora,
                    wanted,
                    target,
                    overwrite=overwrite,
                    on_progress=update,
                )
    out.result(
        {**done.to_dict(), "report": report.to_dict() if report else None},
        human=lambda console: _show(console, done, report),
        ids=[str(done.written.path)],
    )


def _beside(entry: ResolvedEntry, wanted: Conversion, dora_to_lora: int | None) -> Path:
    """Next to the source, under a name that says what is new."""
    from lorakit.cli.workshop import beside
    from lorakit.merging.converting import own_layout

    new = [wanted.layout, wanted.dtype, wanted.blocks, dora_to_lora and f"lora{dora_to_lora}"]
    ending = "-".join(str(word) for word in new if word) or "converted"
    return beside(entry.path, ending, wanted.layout or own_layout(entry.report))


def _dry(
    catalog: Catalog, out: Output, entry: ResolvedEntry, base: ChosenBase | None, target: Path
) -> None:
    from lorakit.cli.workshop import say_verdict
    from lorakit.gate import judge_derived

    if base is None:
        verdict = judge_derived(catalog, "re-encoded adapter", [entry])
    else:
        verdict = judge_derived(catalog, "dora conversion", [base, entry])
    say_verdict(out, verdict, target)


def _show(console: Console, done: WrittenAdapter, report: MergeReport | None) -> None:
    from lorakit.cli.workshop import show_report, show_written

    if report is not None:
        show_report(console, report)
    show_written(console, done)
