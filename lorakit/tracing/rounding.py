"""How far apart neighbouring numbers of a stored format are, and what that does to small changes.

A weight that is stored in bfloat16 moves in steps of 1/256 to 1/128 of itself. A merge at low strength
changes most weights by less than half a step, so they come back unchanged, and the few that do change
jump by a whole one: an estimate from all weights together then says 0.03 where 0.1 was merged. Weights
that are small beside the change have steps finer than it, and among them nothing is lost. That is why
strengths are estimated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from lorakit.tracing.arrays import Flags, Floats, Integers

# safetensors code -> (bits of the fraction, exponent of the smallest normal number).
FORMATS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "F64": (52, -1022),
        "F32": (23, -126),
        "F16": (10, -14),
        "BF16": (7, -126),
        "F8_E4M3": (3, -6),
        "F8_E5M2": (2, -14),
    }
)
# Two roundings one after the other may add up, and float32 sketches round once more.
_SLACK = 1.02


def fraction_bits(dtype: str) -> int:
    """How many bits of fraction the format `dtype` keeps. Raises `KeyError` for one that is no float."""
    return FORMATS[dtype][0]


def step(values: Floats, dtype: str) -> Floats:
    """The distance between the numbers of format `dtype` around each of `values`, same shape.

    Raises `KeyError` for a format that is no float.
    """
    steps: Floats = np.ldexp(1.0, step_exponent(values, dtype))
    return steps


def step_exponent(values: Floats, dtype: str) -> Integers:
    """The same as an exponent of two, whole numbers."""
    fraction, smallest = FORMATS[dtype]
    # The exponent's bits of float32, which sketches are taken in.
    exponents: Integers = (values.astype(np.float32).view(np.int32) >> 23 & 0xFF) - 127
    return np.maximum(exponents, smallest) - fraction


def agrees(one: Floats, other: Floats, dtypes: tuple[str, str]) -> Flags | None:
    """Where `one` and `other` may be the same number, rounded to one and the other of `dtypes`.

    None when one of the formats is no plain float, so that its steps cannot be known.
    """
    if not set(dtypes) <= set(FORMATS):
        return None
    if min(map(fraction_bits, dtypes)) >= fraction_bits("F32"):
        return np.asarray(one == other)
    steps = np.maximum(step_exponent(one, dtypes[0]), step_exponent(other, dtypes[1]))
    return np.asarray(np.abs(one - other) <= np.ldexp(_SLACK / 2, steps))


def on_format(values: Floats, dtype: str) -> bool:
    """Whether all of `values` are numbers of the format `dtype`, as a scaled weight's are not."""
    if dtype not in FORMATS:
        return False
    scaled = np.ldexp(values, -step_exponent(values, dtype))
    return bool(np.all(scaled == np.round(scaled)))
