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
from lorakit.errors import BadUsage, LorakitError, NotFound

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.formats.layouts import WritableLayout
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
        entries = find_all(catalog, names)
        job.check(entries)
        if dry_run:
            _dry(catalog, out, job, entries)
            return
        done, failed = _run(out, catalog, job, entries, update)
    out.result(
        {
            "resized": [{**one.to_dict(), "report": report.to_dict()} for one, report in done],
            "failed": [{"path": str(path), "error": error.message} for path, error in failed],
        },
        human=lambda console: _show(console, done, failed),
        ids=[str(one.written.path) for one, _ in done],
    )
    if failed:
        raise typer.Exit(failed[0][1].exit_code)


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

    def check(self, entries: Sequence[ResolvedEntry]) -> None:
        """Raise `BadUsage` for a place that cannot take all results."""
        if self.output is not None and self.into is not None:
            raise BadUsage("Give -o FILE or --into FOLDER, not both.")
        if self.output is not None and len(entries) > 1:
            raise BadUsage(
                f"-o names one file, and {len(entries)} adapters are to be resized.",
                hint="--into FOLDER takes them under their own names.",
            )
        if self.into is not None and not self.into.is_dir():
            if self.into.exists() or not self.into.parent.is_dir():
                raise BadUsage(f"{self.into} is no folder, and none can be made there.")
            self.into.mkdir()
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


def find_all(catalog: Catalog, names: Sequence[str]) -> list[ResolvedEntry]:
    """Every adapter that NAMES mean: those in folders, files, and what the catalog finds.

    Raises `NotFound` for a folder without any, and what `select_adapters` raises.
    """
    from lorakit.cli.options import looks_like_path, read_names
    from lorakit.cli.selecting import select_adapters
    from lorakit.paths import expanded
    from lorakit.stack import Entry, resolve_stack

    paths: list[Path] = []
    words: list[str] = []
    for name in read_names(names):
        path = expanded(name)
        if path.is_dir():
            paths += _in_folder(path)
        elif looks_like_path(name):
            paths.append(path)
        else:
            words.append(name)
    if words:
        paths += [record.existing_path() for record in select_adapters(catalog, words)]
    return list(resolve_stack([Entry(str(path)) for path in dict.fromkeys(paths)], catalog))


def _in_folder(folder: Path) -> list[Path]:
    """The adapters that lie in a folder itself."""
    from lorakit.formats.inspection import inspect

    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    adapters = [path for path in found if inspect(path, hashes=False).modules]
    if not adapters:
        raise NotFound(f"There is no adapter in {folder}.")
    return adapters


def _run(
    out: Output, catalog: Catalog, job: _Job, entries: Sequence[ResolvedEntry], update: Progress
) -> tuple[list[Done], list[tuple[Path, LorakitError]]]:
    """Resize all; one that cannot be does not keep the others waiting, unless it is the only one."""
    from lorakit.merging.many_files import each_file

    if len(entries) == 1:
        return [job.resize(catalog, entries[0], update)], []
    done: list[Done] = []
    failed: list[tuple[Path, LorakitError]] = []
    written: list[Path] = []
    work = [partial(_with_catalog, job, entry, written) for entry in entries]
    largest = max(entry.report.file_size for entry in entries)
    update(0, len(entries), entries[0].name)
    try:
        for entry, found in zip(entries, each_file(work, largest), strict=True):
            if isinstance(found, LorakitError):
                failed.append((entry.path, found))
            else:
                done.append(found)
            update(len(done) + len(failed), len(entries), entry.name)
    except KeyboardInterrupt:
        out.say(
            f"Stopped. {len(written)} of {len(entries)} are written, and whole; the others are not."
        )
        raise
    return done, failed


def _with_catalog(job: _Job, entry: ResolvedEntry, written: list[Path], update: Progress) -> Done:
    """Resize with a catalog opened for it: a connection belongs to the thread that opened it."""
    from lorakit.catalog import Catalog

    with Catalog.open() as catalog:
        done = job.resize(catalog, entry, update)
    written.append(done[0].written.path)
    return done


def _dry(catalog: Catalog, out: Output, job: _Job, entries: Sequence[ResolvedEntry]) -> None:
    """The verdict for each, and where it would go; nothing is computed."""
    from lorakit.gate import judge_derived
    from lorakit.merging.resizing import require_resizable

    verdicts = []
    for entry in entries:
        require_resizable(entry)
        verdicts.append(judge_derived(catalog, "re-encoded adapter", [entry]))
    plans: list[dict[str, Any]] = [
        {"from": str(e.path), "path": str(job.target(e)), "verdict": v.to_dict()}
        for e, v in zip(entries, verdicts, strict=True)
    ]

    def human(console: Console) -> None:
        from lorakit.cli.workshop import show_verdict

        for plan, verdict in zip(plans, verdicts, strict=True):
            show_verdict(console, verdict, [("would write", plan["path"])])

    out.result({"dry_run": True, "plans": plans}, human=human, ids=[p["path"] for p in plans])


def _show(console: Console, done: list[Done], failed: list[tuple[Path, LorakitError]]) -> None:
    from lorakit.cli.render import notes, rows, size
    from lorakit.cli.workshop import share, show_report, show_written, span

    if len(done) == 1 and not failed:
        show_report(console, done[0][1])
        show_written(console, done[0][0])
        return
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
    notes(console, [f"{path.name}: {error.message}" for path, error in failed], style="red")
