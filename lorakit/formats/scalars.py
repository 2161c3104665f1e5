"""Single numbers stored as tensors, such as `.alpha`, read without a tensor library."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import BinaryIO

from lorakit.errors import BadFile
from lorakit.formats.header import Header, TensorInfo

_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "F64": "<d",
        "F32": "<f",
        "F16": "<e",
        "I64": "<q",
        "I32": "<i",
        "I16": "<h",
        "I8": "<b",
        "U64": "<Q",
        "U32": "<I",
        "U16": "<H",
        "U8": "<B",
    }
)


def read_scalars(header: Header, tensors: Mapping[str, TensorInfo]) -> dict[str, float]:
    """The value of each tensor of one element in `tensors` (0-d or any shape of ones).

    A tensor of another size, or of a dtype without a number format, is left out. Raises `BadFile`
    when the file cannot be read.
    """
    scalars = {name: info for name, info in tensors.items() if prod(info.shape) == 1}
    if not scalars:
        return {}
    try:
        with header.path.open("rb") as file:
            values = {name: _read(file, header, info) for name, info in scalars.items()}
    except OSError as error:
        raise BadFile(f"{header.path} cannot be read: {error.strerror or error}.") from error
    return {name: value for name, value in values.items() if value is not None}


def _read(file: BinaryIO, header: Header, info: TensorInfo) -> float | None:
    file.seek(header.data_offset + info.start)
    raw = file.read(info.end - info.start)
    if len(raw) != info.end - info.start:
        raise BadFile(f"{header.path} was cut short while it was read.")
    if info.dtype == "BF16":
        # bf16 is the upper half of a float32.
        raw = b"\0\0" + raw
    layout = "<f" if info.dtype == "BF16" else _FORMATS.get(info.dtype)
    if layout is None:
        return None
    value = float(struct.unpack(layout, raw)[0])
    # One object for every NaN, so that they count as one value though none equals another.
    return math.nan if math.isnan(value) else value
