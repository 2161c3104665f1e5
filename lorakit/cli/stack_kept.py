"""Stacks kept by name: kept, listed and dropped. A STACK argument takes their names (stack_argument.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.cli.curating import tell
from lorakit.errors import BadUsage, LorakitError, NotFound

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.bases import ChosenBase
    from lorakit.catalog import Catalog
    from lorakit.catalog.kept_stacks import KeptStackRecord
    from lorakit.cli.output import Output
    from lorakit.stack import ResolvedEntry

EXAMPLE = 'lorakit stack "ink:0.8 wash:0.5" --keep evening'


def keep_stack(
    out: Output,
    name: str,
    base: ChosenBase,
    entries: Sequence[ResolvedEntry],
    note: str | None,
    force: bool,
) -> None:
    """Keep a stack with its base, and the hashes by which its files are found again.

    Raises `BadUsage` for a name that cannot be one, and `CatalogError` for one that is taken.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.stack_argument import is_adapter
    from lorakit.sharing.shared import share
    from lorakit.sharing.stack_file import stack_file_text

    shared = share(base, entries)
    # The catalog has no folder that a relative path could start at.
    absolute = tuple(replace(entry, path=entry.path.absolute()) for entry in shared.entries)
    document = stack_file_text(replace(shared, entries=absolute), Path())
    with open_catalog() as catalog:
        if is_adapter(catalog, name):
            raise BadUsage(f"An adapter is called {name!r} already.", hint="Choose another name.")
        words = f"stack {shared.stack} --keep {name}"
        with catalog.step(words) as recording:
            kept = catalog.keep_stack(name, document, notes=note, replace=force)
    tell(out, f"Kept as {kept}", recording, False)


def drop_kept(out: Output, name: str) -> None:
    """Keep a stack no longer. Raises `NotFound`."""
    from lorakit.cli.catalogs import open_catalog

    with open_catalog() as catalog, catalog.step(f"stack --drop {name}") as recording:
        dropped = catalog.drop_stack(name)
    tell(out, f"Keeping {dropped} no longer", recording, False)
    out.result(
        {"name": dropped, "step": recording.number}, human=lambda console: None, ids=[dropped]
    )


def show_kept(out: Output) -> None:
    """List the kept stacks, each with how many pictures there are of it."""
    from lorakit.cli.catalogs import open_catalog

    with open_catalog() as catalog:
        found = [_kept(catalog, one) for one in catalog.kept_stacks()]

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        if not found:
            console.print(f"No stack is kept yet. For example: {EXAMPLE}", style="dim")
            return
        body = [
            (one["name"], one["stack"], one["base"], str(len(one["pictures"]) or ""), one["notes"])
            for one in found
        ]
        rows(console, ("name", "stack", "base", "pictures", "notes"), body, right=("pictures",))

    out.result({"stacks": found}, human, ids=[one["name"] for one in found])


def show_one_kept(out: Output, name: str) -> None:
    """Show a kept stack with the pictures that were made with it; the latest is its cover.

    Raises `NotFound` with close names.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.preview_run import shows
    from lorakit.cli.terminal import show_file

    with open_catalog() as catalog:
        one = catalog.kept_stack(name)
        if one is None:
            known = [kept.name for kept in catalog.kept_stacks()]
            there = f"There are: {', '.join(known)}." if known else f"For example: {EXAMPLE}"
            raise NotFound(f"No stack is kept as {name!r}.", hint=there)
        found = _kept(catalog, one)

    def human(console: Console) -> None:
        from lorakit.cli.render import facts, heading

        heading(console, found["name"], found["base"])
        facts(
            console,
            [
                ("stack", found["stack"]),
                ("notes", found["notes"]),
                ("kept", found["made_at"][:10]),
                ("pictures", "\n".join(found["pictures"]) or "none yet: lorakit preview " + name),
            ],
        )
        if found["pictures"] and shows(out, None):
            try:
                show_file(Path(found["pictures"][0]))
            except LorakitError as error:
                out.warn(error.message)

    out.result(found, human, ids=found["pictures"])


def _kept(catalog: Catalog, one: KeptStackRecord) -> dict[str, Any]:
    """A kept stack as JSON takes it; `pictures` are those that are there, the latest first."""
    from lorakit.stack import read_kept, stack_of

    made = read_kept(one.document, one.name)
    return {
        "name": one.name,
        "stack": str(stack_of(made)),
        "base": made.base_name,
        "notes": one.notes,
        "made_at": one.made_at.isoformat(),
        "pictures": [str(path) for path in catalog.stack_pictures(one)],
        "document": one.document,
    }
