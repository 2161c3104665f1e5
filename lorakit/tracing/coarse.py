"""The coarse part of a sketch: a few signed sums a module, enough to tell strangers from relatives.

A sketch of 280 modules has 287,000 values; a thousand of them take seconds to read. Four sums of all
values of a module, each with signs drawn at random but the same for everyone, keep inner products in
the mean (Achlioptas, J. Comput. Syst. Sci. 66, 2003), so that the cosine of two adapters of 280 modules
is known to about 0.03 from 4 kB each. Signs go by kind of module, so that renumbered blocks agree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from lorakit.formats.variants import SIZES
from lorakit.sketches.positions import kind_name
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.arrays import Floats
from lorakit.tracing.grid import with_blocks

KIND = "coarse sketch 1"
SUMS = 4


@dataclass(frozen=True, eq=False)
class Coarse:
    """Signed sums of the modules of an adapter: `sums` is float32 (modules, 4), `norm` the sketch's length."""

    modules: tuple[str, ...]
    sums: Floats
    blocks: int
    norm: float


def coarse(sketch: Sketch) -> Coarse:
    """The coarse part of `sketch`."""
    modules = tuple(sketch.values)
    values = [np.asarray(found, dtype=np.float32) for found in sketch.values.values()]
    sums = [
        _signs(kind_name(name), len(found)) @ found
        for name, found in zip(modules, values, strict=True)
    ]
    norm = float(np.sqrt(sum(float(found.astype(np.float64) @ found) for found in values)))
    rows = np.stack(sums) if sums else np.zeros((0, SUMS), np.float32)
    return Coarse(modules, rows, sketch.blocks, norm)


def to_bytes(found: Coarse) -> bytes:
    """For keeping; `from_bytes` reads it."""
    head = json.dumps({"blocks": found.blocks, "norm": found.norm, "modules": found.modules})
    return head.encode() + b"\n" + np.ascontiguousarray(found.sums, "<f4").tobytes()


def from_bytes(data: bytes) -> Coarse | None:
    """What `to_bytes` wrote; None for bytes that are not that."""
    head, _, body = data.partition(b"\n")
    try:
        blocks, norm, modules = _head(head)
        sums = np.frombuffer(body, "<f4").reshape(len(modules), SUMS)
    except (ValueError, KeyError, TypeError):
        return None
    return Coarse(modules, sums, blocks, norm) if np.isfinite(sums).all() else None


def cosines(rows: Sequence[Coarse], of: Sequence[Coarse]) -> Floats:
    """About the cosine of each of `of` with each of `rows`, float32 (of, rows)."""
    everyone = [*rows, *of]
    published = [one.blocks for one in everyone if one.blocks in SIZES]
    target = max(published, default=0)
    slots: dict[str, int] = {}
    for one in everyone:
        for name in _names(one, target):
            slots.setdefault(name, len(slots))
    if not slots:
        return np.zeros((len(of), len(rows)), np.float32)
    known = _matrix(rows, slots, target)
    found: Floats = (known if of is rows else _matrix(of, slots, target)) @ known.T
    return found


def _matrix(rows: Sequence[Coarse], slots: Mapping[str, int], target: int) -> Floats:
    """One row of unit length each, (rows, slots * 4)."""
    matrix = np.zeros((len(rows), len(slots), SUMS), np.float32)
    for number, one in enumerate(rows):
        scale = 1 / (one.norm * SUMS**0.5) if one.norm else 0.0
        matrix[number, [slots[name] for name in _names(one, target)]] = one.sums * scale
    return matrix.reshape(len(rows), len(slots) * SUMS)


def _names(one: Coarse, target: int) -> tuple[str, ...]:
    """Its modules under the block numbers of the largest model that is compared."""
    if one.blocks == target or one.blocks not in SIZES:
        return one.modules
    return _renumbered(one.modules, one.blocks, target)


@cache
def _renumbered(modules: tuple[str, ...], blocks: int, target: int) -> tuple[str, ...]:
    mark = np.zeros(1)
    # A larger model holds every block of a smaller one, so none is left out and the order stays.
    return tuple(with_blocks(Sketch(dict.fromkeys(modules, mark), "F32", blocks), target).values)


@cache
def _head(text: bytes) -> tuple[int, float, tuple[str, ...]]:
    head = json.loads(text)
    return int(head["blocks"]), float(head["norm"]), tuple(head["modules"])


@cache
def _signs(kind: str, count: int) -> Floats:
    """+1 and -1 for the values of a kind of module, float32 (4, count)."""
    needed = SUMS * count
    drawn = hashlib.shake_256(f"lorakit coarse 1 {kind} {count}".encode()).digest(-(-needed // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[:needed].reshape(SUMS, count)
    signs: Floats = bits.astype(np.float32) * 2 - 1
    return signs
