"""A stack as a stack file (.toml), with the hashes by which another machine finds its files."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from lorakit.formats.stack_file import FileEntry, Named, StackFile, write_stack_file
from lorakit.sharing.shared import SharedEntry, SharedStack
from lorakit.strengths.fields import to_fields


def stack_file_text(shared: SharedStack, folder: Path) -> str:
    """The text of a stack file that will lie in `folder`."""
    base = shared.base
    return write_stack_file(
        StackFile(
            tuple(
                FileEntry(
                    Named(_name(entry, folder), entry.sha256, entry.tensor_sha256),
                    entry.strength.base,
                    to_fields(entry.strength),
                )
                for entry in shared.entries
            ),
            Named(base.name, base.sha256, base.tensor_sha256),
            {} if shared.settings is None else asdict(shared.settings),
        )
    )


def _name(entry: SharedEntry, folder: Path) -> str:
    """The catalog's name; or the path, which goes from `folder` where a relative one was given."""
    if not entry.by_path:
        return entry.name
    if entry.path.is_absolute():
        return str(entry.path)
    try:
        relative = Path(os.path.relpath(entry.path.absolute(), folder.absolute()))
    except ValueError:
        # Windows has no relative path from one drive to another.
        return str(entry.path.absolute())
    # A bare name would be looked up in the catalog.
    return f"./{relative}" if relative.parent == Path() else relative.as_posix()
