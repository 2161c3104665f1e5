"""The two identities of a safetensors file.

`file_sha256` is what Civitai's by-hash lookup takes; `tensor_sha256`, the hash of all bytes after the
header, is kohya's `sshs_model_hash` and survives an edit of the metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from lorakit.errors import BadFile


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Lower-case hex SHA-256 of the whole file, and of the bytes after its header."""

    file_sha256: str
    tensor_sha256: str


def hash_file(path: Path, data_offset: int) -> FileHashes:
    """Hash `path` once whole and once from byte `data_offset` on, in two threads.

    Raises `BadFile` when the file cannot be read.
    """
    return start_hashing(path, data_offset)()


def start_hashing(path: Path, data_offset: int) -> Callable[[], FileHashes]:
    """As `hash_file`, in the background: the result is a function that waits for the hashes."""
    # hashlib lets go of the interpreter lock, so two cores share the work, and the second reader finds
    # each page in the cache. Plain threads: a pool would import the logging package, a tenth of a small
    # command's start-up.
    found: dict[int, str | OSError] = {}

    def work(start: int) -> None:
        try:
            found[start] = _sha256(path, start)
        except OSError as error:
            found[start] = error

    threads = [Thread(target=work, args=(start,), daemon=True) for start in (0, data_offset)]
    for thread in threads:
        thread.start()

    def wait() -> FileHashes:
        for thread in threads:
            thread.join()
        return FileHashes(_checked(path, found[0]), _checked(path, found[data_offset]))

    return wait


def _checked(path: Path, result: str | OSError) -> str:
    if isinstance(result, OSError):
        raise BadFile(f"{path} cannot be read: {result.strerror or result}.") from result
    return result


def _sha256(path: Path, start: int) -> str:
    # read() and no mapping: a drive unplugged half-way then raises, where a mapping kills the process.
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()
