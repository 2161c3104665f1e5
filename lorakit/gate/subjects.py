"""What a file would be made from, as its content is now, and whether it stays so until it is written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lorakit.bases import ChosenBase
from lorakit.errors import BadFile
from lorakit.formats.hashing import FileHashes, hash_file, hash_model
from lorakit.formats.header import read_header
from lorakit.formats.model_files import model_files
from lorakit.stack import ResolvedEntry

# A base or an adapter, as the catalog or a path gives it: what the policy is asked about.
Subject = ChosenBase | ResolvedEntry

# Size, time and inode of a file, and the path they were read from.
Stamp = tuple[Path, int, int, int]


def pinned(subject: Subject) -> Subject:
    """`subject` with the hashes of its file as it is now; the catalog may not have seen the latest.

    A base, which has gigabytes, stays as it was registered: `require_as_judged` reads it, once it is
    known that the file may be written. Raises `BadFile` for a file that is not valid.
    """
    if isinstance(subject, ChosenBase):
        return subject
    hashes = file_hashes(subject.path)
    return replace(subject, sha256=hashes.file_sha256, tensor_sha256=hashes.tensor_sha256)


def file_hashes(path: Path) -> FileHashes:
    """The hashes of a safetensors file as it is now. Raises `BadFile`."""
    return hash_file(path, read_header(path).data_offset)


def stamps(subjects: Sequence[Subject]) -> tuple[Stamp, ...]:
    """What tells, cheaply, whether the files of `subjects` have been changed meanwhile."""
    return tuple(_stamp(path) for subject in subjects for path in files_of(subject))


def files_of(subject: Subject) -> tuple[Path, ...]:
    """The files that a subject is read from. Raises `BadFile` where one of a base's is missing."""
    if isinstance(subject, ChosenBase):
        return tuple(file.path for file in model_files(subject.path))
    return (subject.path,)


def require_as_judged(subjects: Sequence[Subject]) -> None:
    """Raise `BadFile` unless the bytes of every base are those whose terms were judged."""
    for subject in subjects:
        if not isinstance(subject, ChosenBase):
            continue
        if not subject.sha256:
            raise BadFile(
                f"{subject.path} is not registered as a base, so its terms are on no record.",
                hint=f"Register it: lorakit base add {shlex.quote(str(subject.path))} --name NAME",
            )
        if subject.sha256 != hash_model(subject.path).whole.file_sha256:
            raise BadFile(
                f"The file of the base {subject.name} is not the one that was registered: "
                f"{subject.path}.",
                hint="Register it again with `lorakit base add`, naming the model it is now.",
            )


def require_unchanged(before: Sequence[Stamp]) -> None:
    """Raise `BadFile` when a file was changed or replaced since `before`."""
    for stamp in before:
        if _stamp(stamp[0]) != stamp:
            raise BadFile(
                f"{stamp[0]} was changed while it was being read, so nothing was written.",
                hint="Wait until whatever writes it has finished, and start again.",
            )


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    return path, found.st_size, found.st_mtime_ns, found.st_ino
