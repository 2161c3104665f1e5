"""Adding files and telling what became of them: what `add` and `scan` share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lorakit.cli.output import report_error
from lorakit.counting import counted_rows
from lorakit.errors import BadFile
from lorakit.formats.header import PICKLE_SUFFIXES

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AddResult, RejectedFile
    from lorakit.cli.output import Output, Progress
    from lorakit.licenses.adding import TakenIn

MAX_LISTED = 20


@dataclass(frozen=True)
class Added:
    """What became of files, and what was read beside them."""

    result: AddResult
    beside: TakenIn

    def document(self) -> dict[str, Any]:
        """The outcome as JSON takes it."""
        from lorakit.catalog.records import RejectedFile

        beside = {"read": self.beside.read, "changed": self.beside.changed}
        found = {
            field.name: [
                one if isinstance(one, RejectedFile | str) else one.to_dict()
                for one in getattr(self.result, field.name)
            ]
            for field in fields(self.result)
        }
        return {**found, "beside": {**beside, "problems": self.beside.problems}}


def add_paths(
    out: Output,
    catalog: Catalog,
    paths: Sequence[Path],
    command: str,
    *,
    again: bool = False,
    headers_only: bool = False,
) -> Added:
    """Add files and folders, remember the folders, and keep what lies beside the files."""
    try:
        return _add_paths(out, catalog, paths, command, again, headers_only)
    except KeyboardInterrupt:
        out.say("Stopped. What was read until now is kept; the same command goes on from there.")
        raise


def _add_paths(
    out: Output,
    catalog: Catalog,
    paths: Sequence[Path],
    command: str,
    again: bool,
    headers_only: bool,
) -> Added:
    from lorakit.catalog.paths import is_folder
    from lorakit.cli.waiting import answers
    from lorakit.licenses.adding import take_in

    # Before anything is known of them: without a list, folders are told from what is known.
    catalog.remember_folders(path for path in paths if answers(path) and is_folder(path))
    with ExitStack() as bars:
        reading = bars.enter_context(out.progress("Reading headers"))
        hashing: Progress | None = None

        def on_progress(path: Path, done: int, total: int) -> None:
            if hashing is None:
                reading(done, total, path.name)

        def on_hash(path: Path, done: int, total: int) -> None:
            nonlocal hashing
            if hashing is None:
                bars.close()
                hashing = bars.enter_context(out.progress("Reading files"))
            hashing(done, total, path.name)

        result = catalog.add(
            paths, on_progress=on_progress, on_hash=on_hash, headers_only=headers_only
        )
    with out.progress("Reading what lies beside") as update:
        beside = take_in(catalog, result, command, again=again, on_progress=update)
    return Added(result, beside)


def tell(
    out: Output,
    added: Added,
    also: Mapping[str, Any] | None = None,
    warnings: Iterable[str] = (),
    missing: int = 0,
) -> None:
    """Write the outcome, then the warnings. Raises `typer.Exit` where a file could not be read.

    `missing` is how many adapters of the catalog have no file now.
    """
    result = added.result
    out.result(
        {**added.document(), **(also or {})},
        human=lambda console: _show(console, added, missing),
        ids=[file.name for file in (*result.added, *result.pending)],
    )
    emptied = (
        f"{one.path} {one.state} now; {_adapters(one.adapters)} kept as missing. Is the drive plugged in, "
        "or the folder mounted?"
        for one in result.emptied
    )
    for problem in (*warnings, *emptied, *added.beside.problems):
        out.warn(problem)
    for rejected in result.failed:
        # Only by its name does such a file come here, and its hint is a command to be copied.
        if rejected.path.suffix.lower() in PICKLE_SUFFIXES:
            report_error(BadFile(_reason(rejected), hint=rejected.hint))
        else:
            out.warn(" ".join(filter(None, (_reason(rejected), rejected.hint))))
    if result.failed:
        raise typer.Exit(BadFile.exit_code)


def _show(console: Console, added: Added, missing: int) -> None:
    """The outcome for a person: counts, then names."""
    from lorakit.cli.render import facts, notes

    result = added.result
    names = [file.name for file in result.added]
    none = None if result.pending else "none"
    left = f"{len(result.pending):,}, by their headers only; `lorakit scan` reads the files"
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    taken = added.beside.changed
    facts(
        console,
        [
            ("added", f"{len(names):,}: {', '.join(names[:MAX_LISTED])}{more}" if names else none),
            ("known for now", left if result.pending else None),
            ("known already", _count(result.known)),
            ("moved", _count(result.moved)),
            ("changed", _count(result.changed)),
            ("missing", f"{missing:,}: lorakit ls missing:yes" if missing else None),
            ("unreadable", _count(result.failed)),
            ("not read", _unread(result.pickles)),
            (
                "taken over",
                f"what headers and files beside them say of {counted_rows(taken, 'adapter')}"
                if taken
                else None,
            ),
        ],
    )
    notes(console, [f"Left out {r.path.name}: {r.reason}" for r in result.skipped_not_adapter])


def _reason(rejected: RejectedFile) -> str:
    """Which file, and why; most reasons are sentences that name it already."""
    if str(rejected.path) in rejected.reason:
        return rejected.reason
    return f"{rejected.path} {rejected.reason}."


def _unread(pickles: Sequence[str]) -> str | None:
    """How many files are left alone, and where it is told what to do with them."""
    if not pickles:
        return None
    subject = "it" if len(pickles) == 1 else "one"
    return (
        f"{counted_rows(len(pickles), 'pickle file')}, which can run code; to have the command that converts "
        f"{subject}: lorakit add {shlex.quote(pickles[0])}"
    )


def _adapters(count: int) -> str:
    return "1 adapter is" if count == 1 else f"{count:,} adapters are"


def _count(files: Sized) -> str | None:
    return f"{len(files):,}" if files else None
