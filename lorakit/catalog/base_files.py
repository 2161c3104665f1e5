"""The files of a base: which there are, and what tells that one of them was changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from lorakit.catalog.paths import stat_of, time_of
from lorakit.errors import BadFile, NotFound
from lorakit.formats.model_files import model_files


@dataclass(frozen=True, slots=True)
class Stamp:
    """The size of a base in bytes, and a number that another time of any of its files changes.

    Of one file that is its time of change in nanoseconds. `mtime_ns` of several is 63 bits of a hash of
    all their names, sizes and times.
    """

    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of the base at `path`; None where it, or one of its files, is missing."""
    try:
        return find_stamp(path)
    except (BadFile, NotFound):
        return None


def find_stamp(path: Path) -> Stamp:
    """As `stamp_of`. Raises `NotFound` and `BadFile` with a sentence that says what is missing."""
    if stat_of(path) is None:
        raise NotFound(f"There is no {path}.", hint="Check the spelling and the drive.")
    found = []
    for file in model_files(path):
        stat = stat_of(file.path)
        if stat is None or not S_ISREG(stat.st_mode):
            raise NotFound(f"There is no file {file.path}.", hint="Check the drive.")
        found.append((file.path.name, stat.st_size, time_of(stat)))
    if len(found) == 1:
        return Stamp(*found[0][1:])
    told = hashlib.sha256(repr(sorted(found)).encode("utf-8", "surrogateescape")).digest()
    return Stamp(sum(size for _, size, _ in found), int.from_bytes(told[:8]) >> 1)
