"""The two identities of a safetensors file.

`file_sha256` is what Civitai's by-hash lookup takes; `tensor_sha256`, the hash of all bytes after the
header, is kohya's `sshs_model_hash` and survives an edit of the metadata.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

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
    # Brings the logging package along, which would be a tenth of a small command's start-up.
    from concurrent.futures import ThreadPoolExecutor

    try:
        # hashlib lets go of the interpreter lock, so two cores share the work, and the second reader
        # finds each page in the cache.
        with ThreadPoolExecutor(1) as pool:
            whole = pool.submit(_sha256, path, 0)
            tensors = _sha256(path, data_offset)
            return FileHashes(whole.result(), tensors)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def _sha256(path: Path, start: int) -> str:
    # read() and no mapping: a drive unplugged half-way then raises, where a mapping kills the process.
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()
