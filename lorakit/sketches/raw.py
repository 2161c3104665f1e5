"""Bytes of a file's tensors, as they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorakit.errors import BadFile
from lorakit.formats.shards import Stored


def bytes_of(stored: Stored) -> np.ndarray:
    """All bytes of a tensor, (n,) uint8. Raises `BadFile`."""
    return bytes_at(stored.path, stored.offset, stored.info.end - stored.info.start)


def bytes_at(path: Path, offset: int, count: int) -> np.ndarray:
    """The `count` bytes from `offset` on, (count,) uint8, in memory of their own.

    Raises `BadFile` for a file that cannot be read or ends before.
    """
    try:
        found = np.fromfile(path, np.uint8, count, offset=offset)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(found) != count:
        raise BadFile(f"{path} was cut short while it was read.", hint="Download it again.")
    return found
