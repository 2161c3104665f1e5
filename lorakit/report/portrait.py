"""The portrait of an adapter: how much it changes each module, and how its changes spread over ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from sys import intern
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadFile, NotFound, NotFusable
from lorakit.formats import anima

if TYPE_CHECKING:
    from lorakit.adapters.adapter import Adapter
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.spectrum import Spectrum

KIND = "portrait 1"
# Blocks whose spectra stand for all, and values of a curve at most.
_BLOCKS = 4
_LONGEST = 128
_DIGITS = 4


@dataclass(frozen=True)
class Curve:
    """The spectra of the modules of one kind: values relative to the largest, in the mean.

    `modules` is how many were taken, `rank` the mean number of values above nothing, `rank90` the
    mean rank that holds nine tenths of the energy.
    """

    kind: str
    values: tuple[float, ...]
    modules: int
    rank: float
    rank90: float


@dataclass(frozen=True)
class Portrait:
    """`sizes` is the root mean square of the change at strength 1 by module, where it is known without a
    base; `curves` are of the modules in `blocks`, evenly spread over those that are changed."""

    sizes: Mapping[str, float]
    curves: tuple[Curve, ...]
    blocks: tuple[int, ...]


def to_bytes(portrait: Portrait) -> bytes:
    """For keeping; `from_bytes` reads it."""
    curves = [[c.kind, c.values, c.modules, c.rank, c.rank90] for c in portrait.curves]
    document = {"sizes": portrait.sizes, "curves": curves, "blocks": portrait.blocks}
    return json.dumps(document, separators=(",", ":")).encode()


def from_bytes(data: bytes) -> Portrait | None:
    """What `to_bytes` wrote; None for bytes that are not that."""
    try:
        document: dict[str, Any] = json.loads(data)
        curves = tuple(
            Curve(kind, tuple(values), modules, rank, rank90)
            for kind, values, modules, rank, rank90 in document["curves"]
        )
        sizes = {intern(name): float(size) for name, size in document["sizes"].items()}
        return Portrait(sizes, curves, tuple(document["blocks"]))
    except (ValueError, KeyError, TypeError):
        return None


def draw(catalog: Catalog, record: AdapterRecord) -> tuple[Portrait, bool]:
    """The portrait of an adapter of the catalog, and whether it is all that can be known.

    Without the file, or where it holds what lorakit does not apply, it is what the catalog has.
    """
    from lorakit.adapters.loading import load_adapter
    from lorakit.tracing.neighbours import sketch_of

    load = cache(load_adapter)
    sizes: dict[str, float] = {}
    try:
        sketch = sketch_of(catalog, record, load)
        for name, values in sketch.values.items():
            sizes[name] = _short(sqrt(float((values * values).mean())) if len(values) else 0.0)
        adapter = load(record.existing_path())
    except NotFusable:
        return Portrait(sizes, (), ()), True
    except (BadFile, NotFound):
        return Portrait(sizes, (), ()), False
    blocks = spread(adapter.report.blocks)
    return Portrait(sizes, curves_of(adapter, blocks), blocks), True


def spread(blocks: Sequence[int]) -> tuple[int, ...]:
    """A few of the blocks, evenly spread, the first and the last among them."""
    if len(blocks) <= _BLOCKS:
        return tuple(blocks)
    return tuple(blocks[round(n * (len(blocks) - 1) / (_BLOCKS - 1))] for n in range(_BLOCKS))


def curves_of(adapter: Adapter, blocks: Sequence[int]) -> tuple[Curve, ...]:
    """One curve for each kind of module that has spectra in `blocks`."""
    from lorakit.sketches.one_core import one_core
    from lorakit.spectrum import spectrum

    found: dict[str, list[Spectrum]] = {}
    wanted = frozenset(blocks)
    chosen = {n: module for n, module in adapter.modules.items() if anima.block_of(n) in wanted}
    with one_core():
        spectra = {name: spectrum(module) for name, module in chosen.items()}
    for name, one in spectra.items():
        if one is not None and one.energy:
            found.setdefault(anima.kind_of(name), []).append(one)
    return tuple(_mean(kind, found[kind]) for kind in anima.KINDS if kind in found)


def _mean(kind: str, spectra: Sequence[Spectrum]) -> Curve:
    # Values that are rounding make no curve longer.
    kept = [[v / one.values[0] for v in one.values if v > 1e-6 * one.values[0]] for one in spectra]
    length = min(max(map(len, kept)), _LONGEST)
    values = tuple(
        _short(sum(curve[at] if at < len(curve) else 0.0 for curve in kept) / len(kept))
        for at in range(length)
    )
    rank = sum(map(len, kept)) / len(kept)
    rank90 = sum(one.rank_for(0.9) for one in spectra) / len(spectra)
    return Curve(kind, values, len(spectra), _short(rank), _short(rank90))


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
