"""Find adapter files, and what tells cheaply whether they have changed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import ENOENT, ENOTDIR
from operator import attrgetter
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from lorakit.catalog.paths import (
    SUFFIXES,
    absolute,
    is_folder,
    is_there,
    is_unicode,
    stat_of,
    time_of,
)
from lorakit.catalog.records import RejectedFile
from lorakit.errors import NotFound
from lorakit.formats.header import PICKLE_SUFFIXES
from lorakit.mounts import numbers_last

_SIGNED_64 = (1 << 63) - 1


class Fingerprint(NamedTuple):
    """What tells cheaply whether a file has changed.

    `inode` is 0 where the file system does not keep such numbers.
    """

    size: int
    mtime_ns: int
    inode: int

    def fits(self, other: Fingerprint) -> bool:
        """Whether both are of one file as it was, as far as can be told; a number of 0 fits any."""
        same = self.inode == other.inode or not (self.inode and other.inode)
        return same and (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


class FoundFile(NamedTuple):
    """A file on the disk, before it is read. `path` is absolute, with links as they were given."""

    path: str
    fingerprint: Fingerprint
    device: int


@dataclass
class Findings:
    """What a walk gathers: the files in order, the folders it was given, what it could not enter.

    `pickles` are files in folders that are passed over by their names: loading one can run code.
    """

    files: list[FoundFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    failed: list[RejectedFile] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)


def find_files(paths: Sequence[Path]) -> Findings:
    """The files that `paths` name, and those in the folders they name, each once, the uppermost first.

    Of copies the first gives the adapter its name, and what lies deeper is more often the copy. Folders
    are searched to any depth for `.safetensors` and `.sft`, hidden ones left out. Raises `NotFound` for a
    path that does not exist.
    """
    findings = Findings()
    found: dict[str, FoundFile] = {}
    for path in paths:
        name = absolute(path)
        if not is_there(name):
            raise NotFound(_absence(path), hint="Check the spelling and the drive.")
        if is_folder(name):
            findings.folders.append(name)
        else:
            _look(name, stat_of(name), found, findings.failed)
    for entry in _walk(findings):
        _look(entry.path, _stat(entry), found, findings.failed)
    findings.files.extend(
        _with_lasting_numbers([found[name] for name in sorted(found, key=_depth)])
    )
    return findings


def _depth(name: str) -> tuple[int, str]:
    return name.count(os.sep), name


def _absence(path: Path) -> str:
    try:
        path.stat()
    except OSError as error:
        # Such as a server that does not answer.
        if error.errno not in (ENOENT, ENOTDIR):
            return f"{path} cannot be reached: {error.strerror}."
    except ValueError:
        pass
    return f"There is no {path}."


def look_again(paths: Iterable[str]) -> Sequence[FoundFile]:
    """Those of `paths` that lead to a file now."""
    found: dict[str, FoundFile] = {}
    for path in paths:
        _look(path, stat_of(path), found, [])
    return _with_lasting_numbers(list(found.values()))


def _with_lasting_numbers(files: Sequence[FoundFile]) -> Sequence[FoundFile]:
    """`files` with numbers only where those stay; others would tell changes and moves that are none."""
    lasting: dict[int, bool] = {}
    for file in files:
        if file.device not in lasting:
            lasting[file.device] = numbers_last(file.path)
    if all(lasting.values()):
        return files
    return [
        file
        if lasting[file.device]
        else file._replace(fingerprint=file.fingerprint._replace(inode=0))
        for file in files
    ]


def _walk(findings: Findings) -> Iterator[os.DirEntry[str]]:
    """The adapter files under the folders of `findings`, which takes what is passed over or cannot be entered.

    Each real folder is entered once, which ends every loop of links and folders that overlap; linked
    folders come last, so that a file is called by its own path where it has one under `folders`.
    """
    entered: set[tuple[int, int]] = set()
    failed = findings.failed
    roots = sorted(findings.folders, key=lambda folder: Path(folder).is_symlink())
    waiting = deque(roots)
    while waiting:
        current = waiting.popleft()
        stat = stat_of(current)
        if stat is None:
            # A root that is not there is a drive that is unplugged; what a listing named is another matter.
            if current not in roots:
                failed.append(
                    RejectedFile(Path(current), "cannot be reached; is the path too long?")
                )
            continue
        if (stat.st_dev, stat.st_ino) in entered:
            continue
        entered.add((stat.st_dev, stat.st_ino))
        try:
            with os.scandir(current) as listing:
                files, inside = _visible(listing, findings.pickles)
        except OSError as error:
            failed.append(RejectedFile(Path(current), f"cannot be read: {error.strerror}"))
            continue
        waiting.extendleft(entry.path for entry in reversed(inside) if not entry.is_symlink())
        waiting.extend(entry.path for entry in inside if entry.is_symlink())
        yield from files


def _visible(
    listing: Iterable[os.DirEntry[str]], pickles: list[str]
) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """The adapter files of a folder, and the folders in it, both sorted; `pickles` takes such files."""
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    for entry in listing:
        name = entry.name
        if name[0] == ".":
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:
            is_folder = False
        if is_folder:
            folders.append(entry)
        elif (lower := name.lower()).endswith(SUFFIXES):
            files.append(entry)
        elif lower.endswith(PICKLE_SUFFIXES):
            pickles.append(entry.path)
    by_name = attrgetter("name")
    return sorted(files, key=by_name), sorted(folders, key=by_name)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _look(
    name: str,
    stat: os.stat_result | None,
    found: dict[str, FoundFile],
    failed: list[RejectedFile],
) -> None:
    """Note the file, unless it cannot be one of ours whatever it holds."""
    if stat is None:
        failed.append(RejectedFile(Path(name), "leads nowhere, or may not be read"))
    elif not S_ISREG(stat.st_mode):
        # Opening a pipe would wait for ever.
        failed.append(RejectedFile(Path(name), "is not an ordinary file"))
    elif not is_unicode(name):
        shown = Path(os.fsencode(name).decode("utf-8", "replace"))
        failed.append(
            RejectedFile(shown, "has a name that is not Unicode", "Rename it and add it again.")
        )
    else:
        found[name] = FoundFile(name, fingerprint_of(stat), stat.st_dev & _SIGNED_64)


def fingerprint_of(stat: os.stat_result) -> Fingerprint:
    """The fingerprint of the file that `stat` is of, with its number for the time being."""
    # Some file systems number files beyond what a database integer holds.
    return Fingerprint(stat.st_size, time_of(stat), stat.st_ino & _SIGNED_64)
