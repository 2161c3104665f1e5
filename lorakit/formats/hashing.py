"""The two identities of a safetensors file, and of a model of several.

`file_sha256` is what Civitai's by-hash lookup takes; `tensor_sha256`, the hash of all bytes after the
header, is kohya's `sshs_model_hash` and survives an edit of the metadata.

A model of several files is known by the hash of its files' hashes: sorted, in lower-case hexadecimal,
one to a line, as `sha256sum *.safetensors | cut -c-64 | sort | sha256sum` gives it. Neither names nor
folders are in it, as they are in no file's own. A model of one file has that file's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

from lorakit.errors import BadFile
from lorakit.formats.header import read_header
from lorakit.formats.model_files import model_files

# Two threads take longer to start than so many bytes take to hash.
_SMALL_BYTES: Final = 1 << 19


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
    """As `hash_file`, in the background: the result is a function that waits for the hashes.

    A small file is read when it is waited for.
    """
    # hashlib lets go of the interpreter lock, so two cores share the work, and the second reader finds
    # each page in the cache. Plain threads: a pool would import the logging package, a tenth of a small
    # command's start-up.
    if _size(path) <= _SMALL_BYTES:
        return lambda: _hash_small(path, data_offset)
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


@dataclass(frozen=True, slots=True)
class ModelHashes:
    """The identities of a model as a whole, and of each of its files."""

    whole: FileHashes
    parts: Mapping[Path, FileHashes]


def hash_model(path: Path) -> ModelHashes:
    """Hash all files of the model at `path`: a file, a shard, an index of shards, or a folder.

    Raises `BadFile` for one that is not valid safetensors, cannot be read, or is missing.
    """
    return start_hashing_model(path)()


def start_hashing_model(path: Path) -> Callable[[], ModelHashes]:
    """As `hash_model`, in the background from the first file on: the result waits for the hashes.

    The headers of all files are checked before that.
    """
    offsets = {file.path: read_header(file.path).data_offset for file in model_files(path)}
    # One after the other: more at once would only wait for the disk.
    first, *others = offsets.items()
    begun = start_hashing(*first)

    def wait() -> ModelHashes:
        parts = {first[0]: begun(), **{file: hash_file(file, offset) for file, offset in others}}
        return ModelHashes(_of_all(list(parts.values())), parts)

    return wait


def _of_all(parts: Sequence[FileHashes]) -> FileHashes:
    if len(parts) == 1:
        return parts[0]
    return FileHashes(
        _of_hashes([part.file_sha256 for part in parts]),
        _of_hashes([part.tensor_sha256 for part in parts]),
    )


def _of_hashes(hashes: Iterable[str]) -> str:
    lines = "".join(f"{one}\n" for one in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        # Reading it will tell why.
        return 0


def _hash_small(path: Path, data_offset: int) -> FileHashes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    tensors = memoryview(data)[data_offset:]
    return FileHashes(hashlib.sha256(data).hexdigest(), hashlib.sha256(tensors).hexdigest())


def _checked(path: Path, result: str | OSError) -> str:
    if isinstance(result, OSError):
        raise _unreadable(path, result) from result
    return result


def _unreadable(path: Path, error: OSError) -> BadFile:
    return BadFile(f"{path} cannot be read: {error.strerror or error}.")


def _sha256(path: Path, start: int) -> str:
    # read() and no mapping: a drive unplugged half-way then raises, where a mapping kills the process.
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()
