"""Stacks kept by name: kept, listed and dropped. A STACK argument takes their names (stack_argument.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.cli.curating import tell
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.bases import ChosenBase
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
    """List the kept stacks."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.stack import read_kept, stack_of

    with open_catalog() as catalog:
        kept = catalog.kept_stacks()
    made = {one.name: read_kept(one.document, one.name) for one in kept}
    texts = {name: str(stack_of(generation)) for name, generation in made.items()}

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        if not kept:
            console.print(f"No stack is kept yet. For example: {EXAMPLE}", style="dim")
            return
        body = [(one.name, texts[one.name], made[one.name].base_name, one.notes) for one in kept]
        rows(console, ("name", "stack", "base", "notes"), body)

    out.result(
        {
            "stacks": [
                {
                    "name": one.name,
                    "stack": texts[one.name],
                    "base": made[one.name].base_name,
                    "notes": one.notes,
                    "made_at": one.made_at.isoformat(),
                    "document": one.document,
                }
                for one in kept
            ]
        },
        human,
        ids=[one.name for one in kept],
    )
