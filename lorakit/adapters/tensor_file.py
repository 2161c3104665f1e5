"""Tensors as the bytes of a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from lorakit.formats.writing import encode_header

DTYPE_CODES: Mapping[torch.dtype, str] = MappingProxyType(
    {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
)
DTYPES: Mapping[str, torch.dtype] = MappingProxyType({c: d for d, c in DTYPE_CODES.items()})


def file_order(dtypes: Mapping[str, torch.dtype]) -> list[str]:
    """The names, widest dtype first, as the reference writer sorts them: so every tensor is aligned."""
    return sorted(dtypes, key=lambda name: (-dtypes[name].itemsize, name))


def raw_bytes(tensor: torch.Tensor) -> memoryview | bytes:
    """The bytes of a tensor on the CPU, without a copy where it is contiguous."""
    if not tensor.numel():
        return b""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write small files that are all in memory; the same content gives the same file.

    A file of that name is replaced when the new one is whole, so `tensors` may be mapped from it.
    """
    order = file_order({name: tensor.dtype for name, tensor in tensors.items()})
    described = [(n, DTYPE_CODES[tensors[n].dtype], tuple(tensors[n].shape)) for n in order]
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(encode_header(described, metadata))
            for name in order:
                file.write(raw_bytes(tensors[name]))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
