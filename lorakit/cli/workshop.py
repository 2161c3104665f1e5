"""What the verbs that write adapters share: their options, which file is meant, and what was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.counting import counted_rows
from lorakit.errors import BadUsage
from lorakit.formats.peft_folder import WEIGHTS_NAME, called

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.cli.output import Output
    from lorakit.formats.layouts import WritableLayout
    from lorakit.licenses.policy import Verdict
    from lorakit.merging.report import MergeReport
    from lorakit.merging.writing import WrittenAdapter
    from lorakit.stack import ResolvedEntry

Layout = Annotated[
    str | None,
    typer.Option(
        help="Names of the tensors: kohya, comfy, diffusers, peft, onetrainer or lycoris."
    ),
]
Dtype = Annotated[
    str | None, typer.Option(help="Numbers as bf16, fp16 or fp32; rounded once, and measured.")
]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The .safetensors file to write; for peft, a folder.",
        show_default=False,
    ),
]
RankCount = Annotated[
    int | None, typer.Option("--rank", metavar="N", help="The largest N singular values.")
]
EnergyShare = Annotated[
    float | None,
    typer.Option(
        "--energy", metavar="SHARE", help="As many as hold this share of the energy, 0.99."
    ),
]
SvRatioBound = Annotated[
    float | None,
    typer.Option("--sv-ratio", metavar="X", help="Those above the largest divided by X."),
]
FrobeniusShare = Annotated[
    float | None,
    typer.Option(
        "--frobenius", metavar="SHARE", help="As many as hold this share of the Frobenius norm."
    ),
]
Device = Annotated[
    str, typer.Option(help="auto (CUDA where there is one, then CPU), cuda, cuda:N or cpu.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and whether it may be, and stop.")
]


def chosen_layout(text: str | None) -> WritableLayout | None:
    """The layout that is asked for. Raises `BadUsage` for one that cannot be written."""
    from lorakit.formats.layouts import WRITABLE

    if text is not None and text not in WRITABLE:
        raise BadUsage(
            f"There is no layout {text!r} to write.", hint=f"Give {', '.join(WRITABLE)}."
        )
    return text


def chosen_dtype(text: str | None) -> str | None:
    """The dtype that is asked for. Raises `BadUsage` for another than bf16, fp16 and fp32."""
    if text is not None and text not in ("bf16", "fp16", "fp32"):
        raise BadUsage(f"There is no dtype {text!r} to write.", hint="Give bf16, fp16 or fp32.")
    return text


def chosen_device(text: str) -> str:
    """The device to compute on. Raises `BadUsage` for no such word, `LorakitError` where it is not here."""
    from lorakit.fusion.devices import choose_device

    return choose_device(text, in_float64=True)


def find_one(catalog: Catalog, name: str) -> ResolvedEntry:
    """The adapter that NAME means, at strength 1. Raises `NotFound`, `Ambiguous` and `BadFile`."""
    from lorakit.stack import Entry, resolve_stack

    (entry,) = resolve_stack([Entry(name)], catalog)
    return entry


def beside(source: Path, ending: str, layout: str) -> Path:
    """Where the result goes when nobody says: next to its source, under a name that tells what it is."""
    suffix = "" if layout == "peft" else ".safetensors"
    folder = source.parent.parent if source.name == WEIGHTS_NAME else source.parent
    return folder / f"{called(source)}-{ending}{suffix}"


def license_words(verdict: Verdict) -> str:
    """Whether it may be written, and what whoever shares it has to do."""
    if not verdict.allowed:
        denied = verdict.share_merges == "deny"
        return "it forbids this" if denied else "unknown, which denies"
    if verdict.share_merges == "unknown":
        return "unknown, and stays so: nothing is merged"
    count = len(verdict.obligations)
    asked = (
        f"who shares it must do {count} things" if count > 1 else "who shares it must do one thing"
    )
    return f"{asked}, see the notice" if count else "may be shared as it is"


def verdict_rows(verdict: Verdict) -> list[tuple[str, str]]:
    """The same as rows of facts, with the reason of a refusal."""
    reasons = () if verdict.allowed else verdict.reasons
    return [("licence", license_words(verdict)), *(("", reason) for reason in reasons)]


def dry_document(verdict: Verdict, output: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A dry run as JSON takes it."""
    return {"dry_run": True, "path": str(output), **facts, "verdict": verdict.to_dict()}


def say_verdict(out: Output, verdict: Verdict, output: Path) -> None:
    """The result of a dry run of which there is nothing else to tell."""
    out.result(
        dry_document(verdict, output, {}),
        human=lambda console: show_verdict(console, verdict, [("would write", str(output))]),
        ids=[str(output)],
    )


def show_verdict(
    console: Console, verdict: Verdict, extra: Iterable[tuple[str, str | None]] = ()
) -> None:
    """What a dry run says."""
    from lorakit.cli.render import facts

    facts(console, [*extra, *verdict_rows(verdict)])


def show_report(console: Console, report: MergeReport) -> None:
    """Ranks and retained energy by kind, in a table."""
    from lorakit.cli.render import notes, rows

    kinds = [*report.kinds, *([report.total] if len(report.kinds) > 1 else [])]
    rows(
        console,
        ("kind", "modules", "rank", "now", "kept", "error"),
        [
            (
                one.kind,
                str(one.modules),
                span(one.rank_in),
                span(one.rank_out),
                "all" if one.lost == 0 else share(one.retained),
                f"{one.error:.2g}" if one.lost else "0",
            )
            for one in kinds
        ],
        right=("modules", "rank", "now", "kept", "error"),
    )
    notes(console, report.notes)
    if beside := report.total.beside:
        console.print(
            f"Beside the plain sum: {beside.size:.2f} times its size, cosine {beside.cosine:.2f}."
        )


def span(ranks: tuple[int, int] | None) -> str:
    """The least and the most rank."""
    if ranks is None:
        return ""
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}-{ranks[1]}"


def share(value: float) -> str:
    """A share of the energy, with as many digits as tell it from all."""
    return f"{value:.2%}" if value < 0.9999 else f"{value:.4%}"


def show_written(
    console: Console, done: WrittenAdapter, extra: Iterable[tuple[str, str | None]] = ()
) -> None:
    """What was written, how exactly, and what must go with it."""
    from lorakit.cli.render import facts, notes, size

    facts(
        console,
        [
            ("written", str(done.written.path)),
            ("config", str(done.config) if done.config else None),
            ("size", size(done.size)),
            *extra,
            ("rounding", rounding_words(done)),
            ("licence", license_words(done.written.verdict)),
            ("notice", str(done.written.notice)),
        ],
    )
    notes(console, [f"{remark[:1].upper()}{remark[1:]}." for remark in done.remarks])


def rounding_words(done: WrittenAdapter) -> str | None:
    """What rounding to the written dtype did to the change; None where nothing was rounded."""
    found = done.rounding
    if not found.error and not found.unmeasured:
        return None
    words = f"{found.error:.2g} of the change" if found.error else "not known"
    if not found.unmeasured:
        return words
    verb = "changes" if found.unmeasured == 1 else "change"
    return f"{words}; what {counted_rows(found.unmeasured, 'module')} {verb} depends on a base"
