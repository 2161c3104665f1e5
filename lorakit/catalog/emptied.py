"""Folders that are empty or gone though adapters are known to lie in them: an unplugged drive, a server
that does not answer, a mount point on which nothing is mounted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lorakit.catalog.doctor import Finding
from lorakit.catalog.paths import holds_file, is_below, is_folder
from lorakit.catalog.records import EmptiedFolder
from lorakit.catalog.remembered import remembered_folders
from lorakit.db.store import Store

# One file that was deleted leaves an empty folder too, where each has a folder of its own.
_FEW = 2
# So many files are looked for before all that are on record are read.
_TRIED = 4
_BELOW = "SELECT path, adapter_id FROM location WHERE path >= :low AND path < :high"


def emptied_folders(
    store: Store, roots: Iterable[str], gone: Iterable[str] = ()
) -> tuple[EmptiedFolder, ...]:
    """Those of `roots` that hold none of their adapters now, and folders in them that have become empty.

    `gone` are the paths that have just turned out to lead nowhere. What is elsewhere as well does not count.
    """
    roots = list(roots)
    found = {root: one for root in roots if (one := _emptied(store, root))}
    parents = {os.path.dirname(path) for path in gone}  # noqa: PTH120
    inside = {folder_away(parent, roots) for parent in parents} - {None, *roots}
    for folder in sorted(filter(None, inside)):
        below_another = any(is_below(folder, one) for one in found)
        one = None if below_another or not is_folder(folder) else _emptied(store, folder)
        if one and one.adapters >= _FEW:
            found[folder] = one
    return tuple(found.values())


def emptied_roots(store: Store) -> Iterator[Finding]:
    """What there is to say of folders that are scanned and hold none of their adapters."""
    for one in emptied_folders(store, remembered_folders(store)):
        text = f"{one.path} {one.state}: {one.adapters} missing"
        yield Finding("emptied", text, path=str(one.path))


def folder_away(folder: str, roots: Iterable[str]) -> str | None:
    """The highest folder from `folder` up to one of `roots` that is empty or cannot be listed.

    None where `folder` itself holds something.
    """
    root = next((one for one in roots if is_below(folder, one) or folder == one), None)
    away = None
    while root is not None and _is_bare(folder):
        away = folder
        if folder == root:
            break
        folder = os.path.dirname(folder)  # noqa: PTH120
    return away


def _emptied(store: Store, folder: str) -> EmptiedFolder | None:
    below = folder.rstrip(os.sep) + os.sep
    bounds = {"low": below, "high": below[:-1] + chr(ord(os.sep) + 1)}
    bare = _is_bare(folder)
    for most in (f" LIMIT {_TRIED}", ""):
        rows = store.read(_BELOW + most, bounds)
        if not rows or (not bare and any(holds_file(path) for path, _ in rows)):
            return None
    others = store.read(
        "SELECT adapter_id, path FROM location WHERE NOT (path >= :low AND path < :high)", bounds
    )
    numbers = {number for _, number in rows}
    numbers -= {number for number, path in others if number in numbers and holds_file(path)}
    state = "holds none of its adapters"
    if bare:
        state = "is empty" if is_folder(folder) else "is not there"
    return EmptiedFolder(Path(folder), len(numbers), state) if numbers else None


def _is_bare(folder: str) -> bool:
    """Whether a folder is not there, does not answer, or holds nothing that is not hidden."""
    try:
        with os.scandir(folder) as listing:
            return all(entry.name.startswith(".") for entry in listing)
    except OSError:
        return True
