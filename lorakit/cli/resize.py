"""`lorakit resize`: adapters with other ranks, by what their singular values hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.complete import complete_names
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output, Progress
from lorakit.cli.resize_files import Failed, find_all
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
from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.formats.layouts import WritableLayout
    from lorakit.licenses.policy import Verdict
    from lorakit.merging.ranks import RankRule
    from lorakit.merging.report import MergeReport
    from lorakit.merging.writing import WrittenAdapter
    from lorakit.stack import ResolvedEntry

Done = tuple["WrittenAdapter", "MergeReport"]

EXAMPLE = "lorakit resize ink --energy 0.99 -o ink-small.safetensors"


def resize_verb(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Adapters of the catalog, files, folders, or a query; - reads names from stdin.",
            show_default=False,
            autocompletion=complete_names,
        ),
    ],
    output: OutputFile = None,
    into: Annotated[
        Path | None,
        typer.Option(help="The folder to write to, under the same names.", show_default=False),
    ] = None,
    rank: RankCount = None,
    energy: EnergyShare = None,
    sv_ratio: SvRatioBound = None,
    frobenius: FrobeniusShare = None,
    layout: Layout = None,
    dtype: Dtype = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give adapters other ranks: a number, or what holds a share of the energy.

    The result has scale 1, so a strength means what it meant. LoHa and
    LoKr become LoRA. Without -o or --into the results lie beside their
    sources.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.workshop import chosen_device, chosen_dtype, chosen_layout
    from lorakit.merging.ranks import rank_rule

    out = Output.of("resize", json, quiet)
    rule = rank_rule(rank, energy, sv_ratio, frobenius)
    if rule is None:
        raise BadUsage(
            "Nothing says which rank.",
            hint="Give --rank N, --energy 0.99, --sv-ratio X or --frobenius X.",
        )
    form = chosen_layout(layout), chosen_dtype(dtype)
    job = _Job(rule, *form, output, into, overwrite, chosen_device(device))
    with open_catalog() as catalog, out.progress("Resizing") as update:
        entries, failed = find_all(catalog, names)
        job.check(entries, len(entries) + len(failed))
        if dry_run:
            _dry(catalog, out, job, entries, failed)
            return
        if into is not None:
            into.mkdir(exist_ok=True)
        if len(entries) == 1 and not failed:
            done = [job.resize(catalog, entries[0], update)]
        else:
            done = _run(out, job, entries, failed, update)
    out.result(
        {
            "resized": [{**one.to_dict(), "report": report.to_dict()} for one, report in done],
            "failed": _failures(failed),
        },
        human=lambda console: _show(console, done, failed),
        ids=[str(one.written.path) for one, _ in done],
    )
    _exit(failed)


def _exit(failed: Failed) -> None:
    if failed:
        raise typer.Exit(failed[0][1].exit_code)


def _failures(failed: Failed) -> list[dict[str, str]]:
    return [{"path": str(path), "error": error.message} for path, error in failed]


@dataclass(frozen=True)
class _Job:
    """What is wanted of each adapter, and where it goes."""

    rule: RankRule
    layout: WritableLayout | None
    dtype: str | None
    output: Path | None
    into: Path | None
    overwrite: bool
    device: str

    def resize(self, catalog: Catalog, entry: ResolvedEntry, update: Progress) -> Done:
        """Write one adapter with the ranks that are wanted."""
        from lorakit.merging.resizing import resize

        return resize(
            catalog,
            entry,
            self.rule,
            self.target(entry),
            layout=self.layout,
            dtype=self.dtype,
            device=self.device,
            overwrite=self.overwrite,
            on_progress=update,
        )

    def check(self, entries: Sequence[ResolvedEntry], count: int) -> None:
        """Raise `BadUsage` for a place that cannot take all `count` results, of which `entries` are known."""
        if self.output is not None and self.into is not None:
            raise BadUsage("Give -o FILE or --into FOLDER, not both.")
        if self.output is not None and count > 1:
            raise BadUsage(
                f"-o names one file, and {count} adapters are to be resized.",
                hint="--into FOLDER takes them under their own names.",
            )
        there = self.into is None or self.into.is_dir()
        if not there and self.into and (self.into.exists() or not self.into.parent.is_dir()):
            raise BadUsage(f"{self.into} is no folder, and none can be made there.")
        targets = [self.target(entry) for entry in entries]
        twice = next((path for path in targets if targets.count(path) > 1), None)
        if twice is not None:
            raise BadUsage(
                f"Two of the adapters would both become {twice}.", hint="Resize them one at a time."
            )

    def target(self, entry: ResolvedEntry) -> Path:
        """The file that an adapter's result is written to."""
        from lorakit.cli.workshop import beside
        from lorakit.merging.converting import own_layout

        if self.output is not None:
            return self.output
        layout = self.layout or own_layout(entry.report)
        if self.into is None:
            return beside(entry.path, str(self.rule).replace(" ", "-"), layout)
        return self.into / (
            entry.path.stem if layout == "peft" else f"{entry.path.stem}.safetensors"
        )


def _run(
    out: Output,
    job: _Job,
    entries: Sequence[ResolvedEntry],
    failed: Failed,
    update: Progress,
) -> list[Done]:
    """Resize all; one that cannot be is added to `failed` and does not keep the others waiting."""
    from lorakit.merging.many_files import each_file

    done: dict[int, Done] = {}

    def ended(number: int, found: Done | LorakitError) -> None:
        if isinstance(found, LorakitError):
            failed.append((entries[number].path, found))
        else:
            done[number] = found
        update(len(done) + len(failed) - known, len(entries), entries[number].name)

    known = len(failed)
    update(0, len(entries), "")
    jobs = [partial(_with_catalog, job, entry) for entry in entries]
    sizes = [entry.report.file_size for entry in entries]
    try:
        # A GPU works on one file at a time.
        each_file(jobs, sizes, ended, cores=None if job.device == "cpu" else 1)
    except KeyboardInterrupt:
        out.say(
            f"Stopped. {len(done)} of {len(entries)} are written, and whole; the others are not."
        )
        raise
    return [done[number] for number in sorted(done)]


def _with_catalog(job: _Job, entry: ResolvedEntry, update: Progress) -> Done:
    """Resize in whatever process, with a catalog opened for it."""
    from lorakit.catalog import Catalog

    with Catalog.open() as catalog:
        return job.resize(catalog, entry, update)


def _dry(
    catalog: Catalog, out: Output, job: _Job, entries: Sequence[ResolvedEntry], failed: Failed
) -> None:
    """The verdict for each, and where it would go; nothing is computed."""
    from lorakit.gate import judge_derived
    from lorakit.merging.resizing import require_resizable

    failed = list(failed)
    verdicts: list[Verdict] = []
    plans: list[dict[str, Any]] = []
    for entry in entries:
        try:
            require_resizable(entry)
        except LorakitError as error:
            if len(entries) == 1 and not failed:
                raise
            failed.append((entry.path, error))
            continue
        verdict = judge_derived(catalog, "re-encoded adapter", [entry])
        verdicts.append(verdict)
        there = {"from": str(entry.path), "path": str(job.target(entry))}
        plans.append({**there, "verdict": verdict.to_dict()})

    def human(console: Console) -> None:
        from lorakit.cli.workshop import show_verdict

        for plan, verdict in zip(plans, verdicts, strict=True):
            show_verdict(console, verdict, [("would write", plan["path"])])
        _show_failed(console, failed)

    out.result(
        {"dry_run": True, "plans": plans, "failed": _failures(failed)},
        human=human,
        ids=[plan["path"] for plan in plans],
    )
    _exit(failed)


def _show(console: Console, done: list[Done], failed: Failed) -> None:
    from lorakit.cli.render import rows, size
    from lorakit.cli.workshop import share, show_report, show_written, span

    if len(done) == 1 and not failed:
        show_report(console, done[0][1])
        show_written(console, done[0][0])
        return
    if done:
        rows(
            console,
            ("written", "rank", "now", "kept", "size"),
            [
                (
                    one.written.path.name,
                    span(report.total.rank_in),
                    span(report.total.rank_out),
                    share(report.total.retained),
                    size(one.size),
                )
                for one, report in done
            ],
            right=("rank", "now", "kept", "size"),
        )
    _show_failed(console, failed)


def _show_failed(console: Console, failed: Failed) -> None:
    from lorakit.cli.render import notes

    notes(console, [f"{path.name}: {error.message}" for path, error in failed], style="red")
