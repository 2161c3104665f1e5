"""`lorakit scan`: look through folders again, find those of other programs, take over what they know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorakit.cli.options import Json, Quiet, read_names
from lorakit.cli.output import Mode, Output, console, visible
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, NotFound
from lorakit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import Catalog
    from lorakit.catalog.discovering import Proposal
    from lorakit.catalog.importing import CacheImport

EXAMPLE = "lorakit scan"


def scan_verb(
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER...", help="Left out, every folder that was added."),
    ] = None,
    discover: Annotated[
        bool,
        typer.Option(
            "--discover", help="Propose the folders of other programs, at home or below FOLDER."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Add what --discover proposes, unasked.")
    ] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read the files of other programs even if unchanged.")
    ] = False,
    headers: Annotated[
        bool,
        typer.Option("--headers", help="Read headers only; the next scan reads the files whole."),
    ] = False,
    drop: Annotated[
        bool,
        typer.Option("--drop", help="Look for nothing new in FOLDER; its adapters stay known."),
    ] = False,
    lora_manager: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Take over LoRA Manager's cache; it is only read."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look through the folders that were added again: new, moved, changed and missing files.

    Headers are read first, so that everything is listed soon, then the files,
    for what they hold. A scan that is stopped goes on with the next. What other
    programs keep beside the files is read where it has changed, and never
    written. `lorakit undo` takes back what was taken over.
    """
    from lorakit.cli.catalogs import open_catalog

    if sum((discover, drop, lora_manager is not None)) > 1:
        raise BadUsage("--discover, --drop and --lora-manager exclude each other.")
    if headers and (discover or drop or lora_manager is not None):
        raise BadUsage("--headers is for scanning folders.")
    if yes and not discover:
        raise BadUsage("--yes goes with --discover.")
    if lora_manager is not None and folders:
        raise BadUsage("--lora-manager takes a file and no folders.")
    out = Output.of("scan", json, quiet)
    wanted = [expanded(name) for name in read_names(folders or [])]
    with open_catalog() as catalog:
        if drop:
            _drop(out.about("drop"), catalog, wanted)
        elif lora_manager is not None:
            taken = catalog.keep_cache("scan --lora-manager", expanded(lora_manager))
            _take_over(out.about("lora-manager"), taken)
        elif discover:
            _discover(out.about("discover"), catalog, wanted, yes)
        else:
            _scan(out, catalog, wanted, reread, headers)


def _scan(out: Output, catalog: Catalog, named: Sequence[Path], again: bool, headers: bool) -> None:
    from lorakit.catalog.paths import is_there
    from lorakit.cli.adding import add_paths, tell
    from lorakit.cli.waiting import answers

    folders = list(named) or [Path(folder) for folder in catalog.folders()]
    files = [] if named else [Path(file) for file in catalog.known_elsewhere()]
    if not folders and not files:
        raise NotFound(
            "No folder was added yet.",
            hint="lorakit add FOLDER adds one; lorakit scan --discover looks for them.",
        )
    there = [folder for folder in folders if answers(folder)]
    absent = [folder for folder in folders if folder not in there]
    remembered = catalog.folders()
    for folder in absent:
        if named and str(folder.absolute()) not in remembered:
            raise NotFound(f"There is no {folder}.", hint="Check the spelling and the drive.")
    still = [file for file in files if is_there(file)]
    catalog.note_absent([*absent, *{file.parent for file in files if file not in set(still)}])
    added = add_paths(out, catalog, [*there, *still], "scan", again=again, headers_only=headers)
    missing = catalog.missing_count()
    tell(
        out,
        added,
        {"folders": there, "absent_folders": absent, "missing": missing},
        [
            f"{folder} is not there now. What lies in it stays in the catalog, as missing."
            for folder in absent
        ],
        missing,
    )


def _drop(out: Output, catalog: Catalog, folders: Sequence[Path]) -> None:
    if not folders:
        raise BadUsage("--drop needs the folders to drop.", hint="lorakit scan --drop FOLDER")
    dropped = catalog.drop_folders(folders)
    if not dropped:
        known = ", ".join(catalog.folders()) or "none"
        raise NotFound("None of these folders is scanned.", hint=f"Scanned are: {known}.")
    out.result(
        {"dropped": dropped, "folders": catalog.folders()},
        human=lambda console: _say(console, f"Nothing new is looked for in {', '.join(dropped)}."),
        ids=dropped,
    )


def _take_over(out: Output, taken: CacheImport) -> None:
    text = (
        f"LoRA Manager's cache lists {counted_rows(taken.models, 'adapter')}: {taken.known:,} in the catalog, "
        f"{taken.changed:,} with something new that was taken over."
    )
    out.result(
        {"models": taken.models, "known": taken.known, "changed": taken.changed},
        human=lambda console: _say(console, text),
    )


def _discover(out: Output, catalog: Catalog, roots: Sequence[Path], yes: bool) -> None:
    from lorakit.cli.adding import add_paths, tell

    for root in roots:
        if not root.is_dir():
            raise NotFound(f"There is no folder {root}.", hint="Check the spelling and the drive.")
    found = catalog.discover(list(roots) or [Path.home()])
    new = [proposal for proposal in found.proposals if not proposal.known]
    if not found.complete:
        out.warn("The search ended before it had seen everything. Name a folder to search below.")
    if not yes and new and _can_ask(out):
        _show(console(), found.proposals, False)
        question = "Add the new one?" if len(new) == 1 else f"Add the {len(new):,} new ones?"
        if not typer.confirm(question, err=True):
            return
    elif not (yes and new):
        out.result(
            {"proposals": found.proposals, "complete": found.complete},
            human=lambda console: _show(console, found.proposals, bool(new)),
            ids=[str(proposal.folder) for proposal in new],
        )
        return
    added = add_paths(out, catalog, [proposal.folder for proposal in new], "scan --discover")
    tell(out, added, {"proposals": found.proposals, "complete": found.complete})


def _can_ask(out: Output) -> bool:
    """Whether a person sits at a terminal; nobody else is asked."""
    return out.mode is Mode.HUMAN and sys.stdin.isatty() and sys.stdout.isatty()


def _show(console: Console, proposals: Sequence[Proposal], hint: bool) -> None:
    from lorakit.cli.render import rows

    if not proposals:
        _say(console, "No folders of other programs were found. lorakit scan --discover FOLDER")
        return
    rows(
        console,
        ("program", "files", "", "folder"),
        [
            (one.program, f"{one.files:,}", "known" if one.known else "new", str(one.folder))
            for one in proposals
        ],
        right=("files",),
    )
    if hint:
        _say(console, "Nothing was added. --yes adds the new ones; lorakit add FOLDER adds one.")


def _say(console: Console, text: str) -> None:
    console.print(visible(text))
