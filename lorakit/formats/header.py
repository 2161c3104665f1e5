"""The header of a safetensors file, read with the standard library and checked in full.

Layout of a file: 8 bytes (little-endian header length n), n bytes of JSON, then the tensor bytes.
Offsets in the JSON count from the first tensor byte. https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeGuard

from lorakit.errors import BadFile
from lorakit.formats import strict_json
from lorakit.formats.peft_folder import adapter_file

# What the reference reader accepts; a longer header is an attack or a mistake.
MAX_HEADER_BYTES = 100_000_000
LENGTH_BYTES = 8
_MAX = 2**64 - 1
_FIELDS = frozenset({"dtype", "shape", "data_offsets"})

# Names and shapes may be megabytes long; an error message may not.
_repr = Repr()
_repr.maxstring = 200
_show = _repr.repr

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}

PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it; `start` and `end` count from the first tensor byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: every tensor's bytes lie inside the file and none overlap."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_offset: int
    file_size: int


def read_header(path: str | Path) -> Header:
    """Read and check the header of `path`, without reading a tensor; a folder of PEFT's stands for its file.

    Raises `BadFile` for a file that is not valid safetensors, is a pickle, or cannot be read.
    """
    path = adapter_file(Path(path))
    return parse_header(path, *read_raw(path))


def read_raw(path: Path) -> tuple[bytes, int]:
    """The bytes of the header's JSON, which nobody has looked at yet, and the size of the file.

    Raises `BadFile` for a file that cannot begin so, is a pickle, or cannot be read.
    """
    try:
        # Opening a pipe would wait for its other end for ever, so look before opening.
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadFile(f"{path} is not a file that can be read: a folder, a pipe or a device.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(LENGTH_BYTES)
            first = file.read(1)
            _refuse_pickle(path, start, first)
            length = _header_length(path, start, size)
            raw = first + file.read(length - 1) if length else b""
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else None
        raise BadFile(f"{path} cannot be read: {reason or error}.") from error
    if len(raw) != length:
        raise BadFile(
            f"{path} was cut short while it was read.", hint="Wait until it is written, then retry."
        )
    return raw, size


def parse_header(path: Path, raw: bytes, file_size: int) -> Header:
    """Check the JSON bytes `raw` of a file of `file_size` bytes. Raises `BadFile`."""
    document = _decode(path, raw)
    metadata = _metadata(path, document.pop("__metadata__", None))
    data_offset = LENGTH_BYTES + len(raw)
    tensors = {name: _tensor(path, name, entry) for name, entry in document.items()}
    _check_ranges(path, tensors, file_size - data_offset)
    return Header(path, tensors, metadata, data_offset, file_size)


def _refuse_pickle(path: Path, start: bytes, first: bytes) -> None:
    # A header of 640 bytes starts the file as pickle protocol 2 does, so a brace after it acquits.
    looks_like_pickle = start.startswith(_PICKLE_MAGIC) and first != b"{"
    if looks_like_pickle or path.suffix.lower() in PICKLE_SUFFIXES:
        raise BadFile(
            f"{path} is a pickle file, which can run code when it is loaded; lorakit never opens one.",
            hint='Convert it where you trust it: python -c "import torch, safetensors.torch as s; '
            "d = torch.load('IN.pt', weights_only=True); "
            "s.save_file(d.get('state_dict', d), 'OUT.safetensors')\"",
        )


def _header_length(path: Path, start: bytes, size: int) -> int:
    if len(start) < LENGTH_BYTES:
        held = (
            f"it has {size} of the {LENGTH_BYTES} bytes it begins with" if size else "it is empty"
        )
        raise BadFile(f"{path} is too short to be safetensors: {held}.")
    length: int = struct.unpack("<Q", start)[0]
    if length > MAX_HEADER_BYTES:
        raise BadFile(
            f"{path} is not safetensors: its first bytes give a header of {length:,} bytes.",
            hint="The file may be of another type, or its download may be broken.",
        )
    if LENGTH_BYTES + length > size:
        raise BadFile(
            f"{path} is cut short: its header needs {LENGTH_BYTES + length:,} bytes, the file has {size:,}.",
            hint="Download or copy it again.",
        )
    return length


def _decode(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(f"The header of {path} is not UTF-8 (byte {error.start}).") from error
    if not text.startswith("{"):
        raise BadFile(f"{path} is not safetensors: its header is not a JSON object.")
    try:
        document: dict[str, Any] = strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"The header of {path} is not valid JSON: {error}.") from error
    return document


def _metadata(path: Path, found: object) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadFile(f"The __metadata__ of {path} is not an object.")
    for key, value in found.items():
        if not isinstance(value, str):
            raise BadFile(
                f"The __metadata__ of {path} has {_show(key)} with a value that is not text."
            )
    return found


def _tensor(path: Path, name: str, entry: object) -> TensorInfo:
    """One checked entry; what is wrong with it is worded only when something is."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise _bad_tensor(path, name, "is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _bad_tensor(path, name, f"has the unknown dtype {_show(dtype)}")
    if not _is_naturals(shape):
        raise _bad_tensor(path, name, f"has the impossible shape {_show(shape)}")
    if not _is_naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad_tensor(path, name, f"has the impossible offsets {_show(offsets)}")
    bits, span = _bits(dtype, shape), offsets[1] - offsets[0]
    if bits is None:
        raise _bad_tensor(path, name, f"has the impossible shape {_show(shape)}")
    if bits != span * 8:
        needs = f"{bits / 8:,.0f} bytes" if bits % 8 == 0 else "no whole number of bytes"
        what = f"is {dtype} {_show(shape)}, which needs {needs}, but its offsets span {span:,}"
        raise _bad_tensor(path, name, what)
    return TensorInfo(name, dtype, tuple(shape), offsets[0], offsets[1])


def _bad_tensor(path: Path, name: str, what: str) -> BadFile:
    return BadFile(f"Tensor {_show(name)} in {path} {what}.")


def _is_naturals(value: object) -> TypeGuard[list[int]]:
    # type() and not isinstance(): True is an int, and no dimension.
    return isinstance(value, list) and all(type(item) is int and item <= _MAX for item in value)


def _bits(dtype: str, shape: list[int]) -> int | None:
    """The size of a tensor; None where a 64-bit reader would overflow on the way, even to zero."""
    count = 1
    for size in shape:
        count *= size
        if count > _MAX:
            return None
    return count * DTYPE_BITS[dtype]


def _check_ranges(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    """The format wants the tensors to fill the data part without gap or overlap."""
    end, last = 0, ""
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start < end:
            raise BadFile(f"Tensors {_show(last)} and {_show(tensor.name)} in {path} overlap.")
        if tensor.start > end:
            raise BadFile(
                f"{path} has {tensor.start - end:,} bytes before {_show(tensor.name)} that belong to nothing."
            )
        end, last = tensor.end, tensor.name
    if end > data_bytes:
        raise BadFile(
            f"{path} is cut short: tensor {_show(last)} ends at byte {end:,}, the data has {data_bytes:,}.",
            hint="Download or copy it again.",
        )
    if end < data_bytes:
        raise BadFile(
            f"{path} has {data_bytes - end:,} bytes after its last tensor that belong to nothing.",
            hint="Download or copy it again.",
        )
