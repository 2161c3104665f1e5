"""`lorakit trace`: which known models a checkpoint or an adapter holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lorakit.cli.complete import as_items, complete_models
from lorakit.cli.curating import counted_rows
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from lorakit.tracing.known import Finding, Known
    from lorakit.tracing.report import Trace, TraceReport


class _SuspectFirst(TyperGroup):
    """`lorakit trace FILE` means `lorakit trace suspect FILE`."""

    default_command = "suspect"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401 - Typer's own
        """The verbs within, and what the first of them may be given."""
        return super().shell_complete(ctx, incomplete) + as_items(complete_models(incomplete))


app = typer.Typer(
    cls=_SuspectFirst,
    no_args_is_help=True,
    help="Tell which known models a file holds, by its weights.",
    epilog="Example: `lorakit trace suspect.safetensors`",
)


@app.command("suspect", epilog="Example: `lorakit trace some-merge.safetensors --with rdbt`")
def suspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint (a file, its shards or a diffusers folder), an adapter, or its name in "
            "the catalog.",
            autocompletion=complete_models,
        ),
    ],
    candidates: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Look for this base, adapter or fingerprint alone; may be given again. Left out, all.",
            autocompletion=complete_models,
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Read hundreds of times as many weights: for strengths to a thousandth, and for adapters "
            "where no relative of the file is known.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tell which known models FILE holds, how much of each, and where.

    It samples weights at fixed places and compares them with those of every
    registered base, learnt fingerprint and adapter. Names and headers play no part.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_run import trace_file

    out = Output.of("trace", json, quiet)
    with open_catalog() as catalog, out.progress("Tracing") as update:
        report = trace_file(catalog, file, candidates or (), deep=deep, on_progress=update)
    out.result(
        report.to_dict(),
        human=lambda console: show(console, report),
        ids=[trace.finding.known.name for trace in report.found],
    )


@app.command("fingerprint", epilog="Example: `lorakit trace fingerprint rdbt -o rdbt.fingerprint`")
def fingerprint(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A base or an adapter by name.",
            autocompletion=complete_models,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    share_merges: Annotated[
        str | None,
        typer.Option(
            help="The author's terms: allow, allow_with_obligations or deny. Needs --source."
        ),
    ] = None,
    statement: Annotated[
        str | None, typer.Option(help="The sentence that says so, as the author puts it.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where that stands, such as the address of the model's page.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the fingerprint of a model: enough to recognise it, and nothing to use it with.

    An author may publish it in place of weights; `lorakit trace learn` takes it in.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_fingerprint import stated_terms, write_fingerprint

    out = Output.of("trace fingerprint", json, quiet)
    terms = stated_terms(share_merges, statement, source)
    with open_catalog() as catalog:
        done = write_fingerprint(catalog, name, output, terms, overwrite=overwrite)
    out.result(
        {"path": str(done.path), "name": done.name, "content": done.content, "bytes": done.size},
        human=lambda console: console.print(
            f"{done.path}: the fingerprint of {done.name}, {done.size / 1e3:,.0f} kB.",
        ),
        ids=[str(done.path)],
    )


@app.command("learn", epilog="Example: `lorakit trace learn rdbt.fingerprint --as rdbt`")
def learn(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A fingerprint file.")],
    name: Annotated[
        str | None, typer.Option(help="What to call the model. Left out, as the file does.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="MODEL", help="Which model of the table of known models it is."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take in a fingerprint, so that its model is recognised without its weights being here."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.trace_fingerprint import learn_fingerprint

    out = Output.of("trace learn", json, quiet)
    with open_catalog() as catalog:
        known = learn_fingerprint(catalog, file, name, model)
    out.result(
        {"known": _described(known)},
        human=lambda console: console.print(
            f"{known.name} is known now; `lorakit trace FILE` looks for it."
        ),
        ids=[known.name],
    )


@app.command("known", epilog="Example: `lorakit trace known`")
def known_models(json: Json = False, quiet: Quiet = False) -> None:
    """List the bases and fingerprints that files are compared with, and what each was made from."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.output import warn
    from lorakit.cli.trace_run import made_from
    from lorakit.tracing.candidates import known_weights

    out = Output.of("trace known", json, quiet)
    with open_catalog() as catalog, out.progress("Reading") as update:
        found = known_weights(catalog, update, warn)
    parents = made_from(found)
    out.result(
        {"known": [{**_described(one), "made_from": parents.get(one.content)} for one in found]},
        human=lambda console: _show_known(console, found, parents),
        ids=[known.name for known in found],
    )


def _described(known: Known) -> dict[str, Any]:
    return {
        "name": known.name,
        "holds": known.holds,
        "model": known.model,
        "content": known.content,
        "parent": known.parent,
        "sampled_values": sum(map(len, known.sketch.values.values())),
    }


def _show_known(console: Console, found: list[Known], parents: Mapping[str, str]) -> None:
    from lorakit.cli.render import rows

    if not found:
        console.print(
            "No model is known: `lorakit base add FILE --as rdbt`, or `trace learn FILE`."
        )
        return
    rows(
        console,
        ("name", "of", "model", "made from"),
        [
            (
                known.name,
                "weights" if known.holds == "weights" else "an adapter",
                known.model or "not in the table",
                parents.get(known.content, "not known"),
            )
            for known in found
        ],
    )


def show(console: Console, report: TraceReport) -> None:
    """A trace for a person: the sentence first, then the evidence."""
    from lorakit.cli.render import heading, notes, rows

    heading(
        console,
        report.path.name,
        f"{report.kind} of {counted_rows(report.blocks, 'block')}, {report.dtype}, {counted_rows(report.values, 'weight')} sampled",
    )
    console.print(report.sentence)
    traced = [trace for trace in report.traces if trace.finding.strength is not None]
    if traced:
        shown = _worth_a_row(traced)
        console.print()
        rows(
            console,
            ("model", "", "strength", "standard errors", "largest null"),
            [
                (
                    trace.finding.known.name,
                    _WORDS[trace.finding.outcome],
                    _strength(trace.finding.strength, trace.finding.error),
                    "" if trace.finding.z is None else f"{min(abs(trace.finding.z), 9999):,.0f}",
                    f"{max(nulls.largest for nulls in trace.nulls):.3f}" if trace.nulls else "",
                )
                for trace in shown
            ],
            right=("strength", "standard errors", "largest null"),
        )
        if len(shown) < len(traced):
            console.print(
                f"and {counted_rows(len(traced) - len(shown), 'adapter')} more, not held: --json"
            )
    seen = [t.finding for t in traced if not t.found and abs(t.finding.z or 0) >= _STRIKING]
    reasons = _together([finding for finding in seen if finding.outcome == "absent"])
    if reasons:
        console.print()
        notes(console, reasons)
    for trace in report.found:
        console.print()
        _show_found(console, trace)
    open_questions = [_open(trace.finding.how, trace.finding.settle) for trace in report.open]
    if report.undecided:
        open_questions.append(
            f"{counted_rows(len(report.undecided), 'module')} could not be read as plain weights, such as "
            f"{report.undecided[0]}."
        )
    if open_questions:
        console.print()
        console.print("Not decided", style="bold")
        notes(console, open_questions)


def _worth_a_row(traced: Sequence[Trace]) -> list[Trace]:
    """All but the adapters that are not held, of which the first few."""
    absent = [
        trace
        for trace in traced
        if trace.finding.outcome == "absent" and trace.finding.known.holds == "change"
    ]
    left_out = set(map(id, absent[_MOST_ABSENT:]))
    return [trace for trace in traced if id(trace) not in left_out]


def _together(findings: Sequence[Finding]) -> list[str]:
    """Why each is not held; where several have the same reason, in one sentence."""
    from lorakit.catalog.naming import listed

    groups: dict[str, list[str]] = {}
    for finding in findings:
        reason = finding.how.replace(f" {finding.known.name} ", " \0 ", 1)
        groups.setdefault(reason, []).append(finding.known.name)
    return [reason.replace("\0", listed(names)) for reason, names in groups.items()]


def _show_found(console: Console, trace: Trace) -> None:
    """One model that is there: how it was seen, and where it is."""
    from lorakit.cli.render import facts, heading

    heading(console, trace.finding.known.name)
    console.print(trace.finding.how)
    parts = [(part.name, part) for part in trace.components]
    parts += [(f"blocks {part.name}", part) for part in trace.blocks]
    facts(console, [(name, _strength(part.strength, part.error)) for name, part in parts])


# So many adapters that are not held are shown to a person; --json has all.
_MOST_ABSENT = 8
# From so many standard errors on, it is said why something is not held all the same.
_STRIKING = 5.0
_WORDS = {
    "same": "the same",
    "contains": "held",
    "undecided": "open",
    "unseen": "not seen",
    "absent": "not held",
}


def _strength(value: float | None, error: float | None) -> str:
    """A coefficient to the digits that its error leaves."""
    if value is None:
        return ""
    digits = 2 if error is None or error >= 0.005 else 3
    shown = f"{round(value, digits) + 0.0:.{digits}f}"
    return shown if error is None else f"{shown} ± {max(error, 0.001):.{digits}f}"


def _open(how: str, settle: str | None) -> str:
    return how if settle is None else f"{how} To settle it, register {settle}."
