"""Stored numbers as weights: the float formats, and integers with a scale beside them.

What is not fully understood is not decoded: a layer with a tensor beside it that is not known here, or a
format by another name, has no rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from lorakit.formats.header import DTYPE_BITS
from lorakit.formats.shards import Stored
from lorakit.sketches.weights import Matrix

# What multiplies the stored numbers, under ComfyUI's older and newer name.
_SCALES = ("weight_scale", "scale_weight")
# What says nothing of the weight: biases, and the scales of activations.
_HARMLESS = frozenset({"bias", "input_scale", "scale_input"})
_CONFIG = "comfy_quant"
_MOST_CONFIG_BYTES = 4096

# ComfyUI's formats (its QUANTIZATION.md, and convert_to_quant) -> the dtype of the numbers.
_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "float8_e4m3fn": "F8_E4M3",
        "float8_e4m3fn_rowwise": "F8_E4M3",
        "float8_e4m3fn_blockwise": "F8_E4M3",
        "float8_e5m2": "F8_E5M2",
        "int8_tensorwise": "I8",
        "int8_rowwise": "I8",
        "int8_blockwise": "I8",
    }
)
_CONFIG_KEYS = frozenset(
    {
        "format",
        "group_size",
        "full_precision_matrix_mult",
        "per_row",
        "convrot",
        "convrot_groupsize",
        "dtype",
    }
)
_PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
_NUMPY: Mapping[str, str] = MappingProxyType({"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1"})
_SMALL_FLOATS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    # Bits of the mantissa, bias of the exponent, and which patterns are no number.
    {
        "F8_E4M3": (3, 7, "last"),
        "F8_E5M2": (2, 15, "ieee"),
        "F8_E4M3FNUZ": (3, 8, "minus zero"),
        "F8_E5M2FNUZ": (2, 16, "minus zero"),
    }
)
_ROTATIONS = (4, 16, 64, 256, 1024)


@dataclass(frozen=True)
class Rule:
    """How the numbers of a matrix become weights: stored as `dtype`, times `scale`, turned back.

    `scale` (a, b) has one number for each of a x b blocks of equal size; `rotated` is the width of the
    groups of columns that ConvRot has turned, 1 where it has not.
    """

    dtype: str
    scale: np.ndarray | None = None
    rotated: int = 1

    @property
    def item_bytes(self) -> int:
        """The size of one stored number."""
        return DTYPE_BITS[self.dtype] // 8


def rule_of(
    matrix: Matrix, read: Callable[[Stored], bytes], stated: Mapping[str, Any] | None
) -> Rule | None:
    """How to decode a matrix; None where that is not known for certain.

    `stated` is what the file's header says of the layer's quantisation, if anything; a tensor beside the
    layer outranks it.
    """
    config = _config(matrix, read, stated)
    dtype = _number_dtype(matrix.weight.info.dtype, config)
    scales = [matrix.beside[name] for name in _SCALES if name in matrix.beside]
    known = _HARMLESS.union(_SCALES, (_CONFIG,))
    if config is None or dtype is None or len(scales) > 1 or not matrix.beside.keys() <= known:
        return None
    rotated = int(config.get("convrot_groupsize", 256)) if config.get("convrot") else 1
    if rotated > 1 and (rotated not in _ROTATIONS or matrix.shape[1] % rotated):
        return None
    if not scales:
        return Rule(dtype, None, rotated) if dtype != "I8" else None
    scale = _scale(scales[0], matrix.weight.info.shape, read)
    if scale is None or (dtype in _PLAIN and (scale != 1).any()):
        return None
    return Rule(dtype, scale, rotated)


def decode(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes (..., n * size) of `n` numbers as float32 (..., n)."""
    if dtype == "BF16":
        widened = raw.view("<u2").astype(np.uint32) << 16
        numbers: np.ndarray = widened.view(np.float32)
    elif dtype in _SMALL_FLOATS:
        numbers = _small_floats(dtype)[raw]
    else:
        with np.errstate(over="ignore"):
            numbers = raw.view(_NUMPY[dtype]).astype(np.float32)
    return numbers


def scaled(
    numbers: np.ndarray,
    rule: Rule,
    shape: tuple[int, ...],
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Numbers of a stored tensor of `shape` times the scale of their row (n, 1) and column (n, m)."""
    if rule.scale is None:
        return numbers
    tall, wide = rule.scale.shape
    factors = rule.scale[rows * tall // shape[0], columns * wide // shape[1]]
    weights: np.ndarray = numbers * factors
    return weights


def turned_back(values: np.ndarray, group: int) -> np.ndarray:
    """Undo ConvRot: every `group` neighbouring columns times the orthogonal matrix they were turned by.

    That matrix is the regular Hadamard matrix, a Kronecker power of a symmetric 4 x 4 one over the root of
    its size, and so its own inverse (ComfyUI's int8_tensorwise with convrot; QuaRot, arXiv:2404.00456).
    """
    if group == 1:
        return values
    shape = values.shape
    turned: np.ndarray = values.reshape(*shape[:-1], -1, group) @ _hadamard(group)
    return turned.reshape(shape)


@cache
def _hadamard(size: int) -> np.ndarray:
    four = np.ones((4, 4), np.float32) - 2 * np.eye(4, dtype=np.float32)[::-1]
    whole: np.ndarray = four
    while len(whole) < size:
        whole = np.kron(whole, four)
    normal: np.ndarray = whole / np.float32(size**0.5)
    return normal


@cache
def _small_floats(dtype: str) -> np.ndarray:
    """The 256 numbers of an 8-bit float format."""
    mantissa_bits, bias, special = _SMALL_FLOATS[dtype]
    code = np.arange(256)
    exponent = (code & 0x7F) >> mantissa_bits
    mantissa = (code & (1 << mantissa_bits) - 1) / (1 << mantissa_bits)
    normal = np.ldexp(1 + mantissa, exponent - bias)
    values = np.where(exponent == 0, np.ldexp(mantissa, 1 - bias), normal)
    if special == "last":
        values[(code & 0x7F) == 0x7F] = np.nan
    elif special == "minus zero":
        values[0x80] = np.nan
    else:
        largest = exponent == exponent.max()
        values[largest] = np.where(mantissa[largest] == 0, np.inf, np.nan)
    return np.where(code & 0x80, -values, values).astype(np.float32)


def _config(
    matrix: Matrix, read: Callable[[Stored], bytes], stated: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """What is said of the layer's quantisation, flat; None where it cannot be understood."""
    found: Any = stated or {}
    stored = matrix.beside.get(_CONFIG)
    if stored is not None:
        if stored.info.end - stored.info.start > _MOST_CONFIG_BYTES:
            return None
        try:
            found = json.loads(read(stored).rstrip(b"\0").decode("utf-8"))
        except (ValueError, RecursionError):
            return None
    if not isinstance(found, Mapping):
        return None
    nested = found.get("params", {})
    if not isinstance(nested, Mapping):
        return None
    flat = {**nested, **{key: value for key, value in found.items() if key != "params"}}
    width = flat.get("convrot_groupsize", 256)
    if flat.keys() - _CONFIG_KEYS or type(width) is not int:
        return None
    return flat


def _number_dtype(stored: str, config: Mapping[str, Any] | None) -> str | None:
    """What the numbers are: the stored dtype, which may be bytes that hold 8-bit floats."""
    if config and "format" in config:
        dtype = _FORMATS.get(config["format"]) if isinstance(config["format"], str) else None
        return dtype if stored in (dtype, "U8") and (stored, dtype) != ("U8", "I8") else None
    return stored if stored in _PLAIN or stored in _SMALL_FLOATS or stored == "I8" else None


def _scale(
    stored: Stored, shape: tuple[int, ...], read: Callable[[Stored], bytes]
) -> np.ndarray | None:
    """A scale as (a, b) numbers for as many equal blocks; None where its shape does not tell."""
    own = stored.info.shape
    if stored.info.dtype not in _PLAIN:
        return None
    if prod(own) == 1:
        blocks = (1, 1)
    elif own == shape[:1]:
        blocks = (own[0], 1)
    elif len(own) == 2 or (len(own) == 3 and own[2] == 1):
        blocks = (own[0], own[1])
    else:
        return None
    if 0 in blocks or shape[0] % blocks[0] or shape[1] % blocks[1]:
        return None
    numbers = decode(np.frombuffer(read(stored), np.uint8), stored.info.dtype)
    return numbers.reshape(blocks)
