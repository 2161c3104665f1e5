"""Tensors against tensors, to the bit, and how far apart they are where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from lorakit.adapters.tensor_file import DTYPE_CODES, DTYPES
from lorakit.errors import BadFile
from lorakit.formats.header import Header
from lorakit.merging.verifying.noise import alone, beyond_a_step
from lorakit.sketches.raw import bytes_at
from lorakit.tracing.rounding import step

_INTEGERS: Mapping[int, torch.dtype] = MappingProxyType(
    {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
)
# So many values tell the mean square of a tensor's steps well enough.
_SAMPLED = 1 << 14


@dataclass(frozen=True)
class Deviation:
    """A tensor that is not what it should be: `differing` of its `values` values.

    `largest` is the largest difference, `error` and `size` the squared norms of the difference and of
    what was expected, `rounding` what rounding twice would make of the first, `steps` how many numbers of
    the format lie between, at most. `beyond` values differ by more than one rounding may, `alone` of them
    with nothing beside them that differs likewise (`noise.py`). `remark` says what differs beside values:
    shape or dtype. `shapes` are the shape that it has and the one it should have where these differ; its
    values are not compared then, and all of them count as differing.
    """

    key: str
    module: str
    values: int
    differing: int
    largest: float
    error: float
    size: float
    rounding: float
    steps: int
    beyond: int
    alone: int
    remark: str = ""
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @property
    def explained(self) -> bool:
        """Whether rounding explains each value by itself or by those beside it."""
        return not (self.alone or self.remark)

    @property
    def relative(self) -> float | None:
        """‖found - expected‖ / ‖expected‖; None where nothing but zeros was expected, or another shape."""
        return sqrt(self.error / self.size) if self.size and self.shapes is None else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "key": self.key,
            "module": self.module,
            "values": self.values,
            "differing": self.differing,
            "shape": None if self.shapes is None else list(self.shapes[0]),
            "expected_shape": None if self.shapes is None else list(self.shapes[1]),
            "largest_difference": self.largest if self.shapes is None else None,
            "relative_difference": self.relative,
            "steps": self.steps if self.shapes is None else None,
            "beyond_a_step": self.beyond,
            "alone": self.alone,
            "remark": self.remark or None,
        }


def stored_tensor(header: Header, key: str) -> torch.Tensor:
    """One tensor of a file, read into memory of its own. Raises `BadFile`."""
    info = header.tensors[key]
    dtype = DTYPES.get(info.dtype)
    if dtype is None:
        raise BadFile(f"{header.path} stores {key} as {info.dtype}, which lorakit does not read.")
    raw = bytes_at(header.path, header.data_offset + info.start, info.end - info.start)
    return torch.from_numpy(raw).view(dtype).reshape(info.shape)


def deviation(
    key: str, module: str, expected: torch.Tensor, found: torch.Tensor
) -> Deviation | None:
    """How `found` differs from `expected`; None where every bit is the same."""
    if found.shape != expected.shape:
        shapes = tuple(found.shape), tuple(expected.shape)
        remark = f"has the shape {list(shapes[0])} and should have {list(shapes[1])}"
        size, count = _squares(expected), found.numel()
        return Deviation(
            key, module, count, count, 0.0, size, size, 0.0, 0, count, count, remark, shapes
        )
    remark = ""
    if found.dtype != expected.dtype:
        codes = [DTYPE_CODES[tensor.dtype] for tensor in (found, expected)]
        remark = f"is stored as {codes[0]} and should be {codes[1]}"
        found = found.to(expected.dtype)
    bits = _bits(found.contiguous()), _bits(expected.contiguous())
    where = bits[0] != bits[1]
    differing = int(where.sum())
    if not differing and not remark:
        return None
    apart = where.view(found.shape)
    beyond = beyond_a_step(found, expected, apart)
    one, other = found[apart], expected[apart]
    gap = (one.double() - other.double()).abs()
    return Deviation(
        key,
        module,
        found.numel(),
        differing,
        float(gap.max()) if differing else 0.0,
        _squares(gap),
        _squares(expected),
        _rounding(expected),
        _steps(bits[0][where], bits[1][where]) if expected.is_floating_point() else 0,
        int(beyond.sum()),
        alone(beyond, found, expected),
        remark,
    )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(_INTEGERS[tensor.itemsize])


def _steps(one: torch.Tensor, other: torch.Tensor) -> int:
    """The most numbers of the format between two of them, from their bits."""
    if not one.numel():
        return 0
    return int((_ordered(one) - _ordered(other)).abs().max())


def _ordered(bits: torch.Tensor) -> torch.Tensor:
    """Bits of floats as integers in the order of the floats: the sign's bit turns the others round."""
    least = torch.iinfo(bits.dtype).min
    wide = bits.long()
    return torch.where(wide < 0, least - wide, wide)


def _rounding(values: torch.Tensor) -> float:
    """Σ of what two roundings of each of `values` to its own format give on average, from a sample."""
    code = DTYPE_CODES[values.dtype]
    flat = values.reshape(-1)
    apart = max(1, flat.numel() // _SAMPLED) | 1
    if not values.is_floating_point() or not flat.numel():
        return 0.0
    steps = step(flat[::apart].float().numpy(), code)
    return float(np.mean(np.square(steps)) / 6) * flat.numel()


def _squares(values: torch.Tensor) -> float:
    rows = torch.linalg.vector_norm(values.float().reshape(-1), dtype=torch.float64)
    return float(rows) ** 2
