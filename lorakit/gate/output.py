"""Where a file is to be written: nothing in the way, room enough, whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lorakit.errors import BadUsage, LorakitError
from lorakit.formats.model_files import is_folder
from lorakit.gate.subjects import Subject, files_of

# What a file system may take beside the bytes of two files.
_SPARE_BYTES = 1_000_000


def notice_path(output: Path) -> Path:
    """Where the obligations of a file stand: beside it."""
    return output.with_name(f"{output.stem}.NOTICE.txt")


def check_output(output: Path, ingredients: Sequence[Subject], *, overwrite: bool) -> None:
    """Raise `BadUsage` for a file that cannot be written there, or must not be."""
    if output.suffix != ".safetensors":
        raise BadUsage(f"The output must end in .safetensors, and {output} does not.")
    if not output.parent.is_dir():
        raise BadUsage(f"There is no folder {output.parent}.")
    if not str(output).isprintable():
        raise BadUsage(f"The output {str(output)!r} cannot be a file name that others read.")
    taken = {path.resolve() for subject in ingredients for path in files_of(subject)}
    _require_elsewhere(output, ingredients)
    for path in (output, notice_path(output)):
        if _real(path) in taken:
            raise BadUsage(f"{path} is one of the ingredients; choose another name.")
        there = path.is_symlink() or path.exists()
        if there and not overwrite:
            raise BadUsage(f"{path} exists already.", hint="--overwrite replaces it.")
        if there and not path.is_file() and not path.is_symlink():
            raise BadUsage(f"{path} is no file; choose another name.")


def _real(path: Path) -> Path:
    """Where a path leads; a link that leads back to itself leads nowhere else."""
    try:
        return path.resolve()
    except RuntimeError:
        return path.absolute()


def _require_elsewhere(output: Path, ingredients: Sequence[Subject]) -> None:
    """Raise `BadUsage` for a file that would become part of a base which is whatever lies in a folder."""
    for subject in ingredients:
        if not is_folder(subject.path):
            continue
        folders = {subject.path.resolve(), *(path.resolve().parent for path in files_of(subject))}
        if output.parent.resolve() in folders:
            raise BadUsage(
                f"{output} would lie among the files of the base {subject.name}.",
                hint="Choose another folder: a base in a folder is all that lies there.",
            )


def check_space(folder: Path, needed: int) -> None:
    """Raise `LorakitError` where the drive of `folder` has no room for `needed` bytes more."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise LorakitError(
            f"{folder} has {free:,} bytes free, and {needed + _SPARE_BYTES:,} are needed.",
            hint="Free some space there, or write to another drive.",
        )


@contextmanager
def partial_file(folder: Path) -> Iterator[Path]:
    """A new file in `folder` with the mode of any other, gone again unless it was renamed."""
    path = folder / f".lorakit-{secrets.token_hex(8)}.part"
    path.touch(exist_ok=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
