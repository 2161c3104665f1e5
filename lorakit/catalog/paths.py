"""Paths as the catalog keeps them, and whether something is there now."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from stat import S_ISDIR, S_ISREG

SUFFIXES = (".safetensors", ".sft")
_SIGNED_64 = (1 << 63) - 1


def absolute(path: str | Path) -> str:
    """`path` from the root, without `..`, but with links kept: they are the person's own names."""
    return os.path.abspath(path)  # noqa: PTH100 (resolve() follows links)


def is_unicode(name: str) -> bool:
    """Whether the database can hold `name`: file names may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_below(path: str, folder: str) -> bool:
    """Whether `path` lies in `folder`, at any depth, by their names."""
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def stat_of(path: str | Path) -> os.stat_result | None:
    """The path's stat, following links; None where there is nothing, or nothing we may see."""
    try:
        return os.stat(path)  # noqa: PTH116 (a list asks for thousands)
    except (OSError, ValueError):
        return None


def is_there(path: str | Path) -> bool:
    """Whether `path` leads to something."""
    return stat_of(path) is not None


def is_folder(path: str | Path) -> bool:
    """Whether `path` leads to a folder that can be asked."""
    stat = stat_of(path)
    return stat is not None and S_ISDIR(stat.st_mode)


def holds_file(path: str | Path) -> bool:
    """Whether `path` leads to a file; a folder that took its place is none."""
    return file_stat(path) is not None


def file_stat(path: str | Path) -> os.stat_result | None:
    """The stat of the file that `path` leads to; None where there is none."""
    stat = stat_of(path)
    return stat if stat is not None and S_ISREG(stat.st_mode) else None


def time_of(stat: os.stat_result) -> int:
    """The time of change in nanoseconds, as far as a database integer goes: from 1677 to 2262.

    Broken clocks and archives write years beyond that, and file systems keep them.
    """
    return max(-_SIGNED_64, min(stat.st_mtime_ns, _SIGNED_64))


def respells(path: str, other: str) -> bool:
    """Whether `other` is `path` with letters of another case or form, and no folder lists it so."""
    if path == other or _folded(path) != _folded(other):
        return False
    # Above this folder they are the same.
    folder = Path(os.path.commonpath([path, other]))
    name = Path(other).relative_to(folder).parts[0]
    try:
        return all(entry.name != name for entry in folder.iterdir())
    except OSError:
        return False


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
