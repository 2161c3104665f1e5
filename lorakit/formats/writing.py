"""The header of a safetensors file to be written: the same tensors give the same bytes.

The library's own writer puts metadata in an order of its own at every run, so that two files with the
same content have different hashes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from math import prod

from lorakit.formats.header import DTYPE_BITS


def encode_header(
    tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> bytes:
    """Length and JSON for `tensors` (name, dtype code, shape), whose bytes follow in that order."""
    document: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + prod(shape) * DTYPE_BITS[dtype] // 8
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(document, separators=(",", ":")).encode()
    # Tensor bytes start at a multiple of 8, as the format advises.
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw
