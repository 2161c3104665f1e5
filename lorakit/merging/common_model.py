"""The one model that several adapters are brought to: how many blocks, and the shape of every weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorakit.counting import counted_rows
from lorakit.errors import NotFusable
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.variants import SIZES, block_map, renumber_module
from lorakit.fusion.plan import BaseModules

_DEFAULT = 28


def common_model(reports: Sequence[AdapterReport], base: BaseModules | None) -> BaseModules:
    """The model of `base`, or else the largest that one of `reports` was made for.

    Its shapes are those of the base and, where it has none, those that the adapters tell, with 0 for a
    side that none tells. Raises `NotFusable` for adapters whose models have nothing to do with another.
    """
    blocks = base.blocks if base else _common_blocks(reports)
    label = base.label if base else "the model of the adapters beside it"
    shapes: dict[str, tuple[int, ...]] = {}
    origin: dict[str, Path] = {}
    for report in reports:
        renumber = _renumbering(report, blocks)
        for module in report.modules:
            name = renumber_module(module.name, renumber)
            told = tuple(side or 0 for side in module.shape or ())
            shapes[name] = _joined(name, shapes.get(name, ()), told, report.path, origin)
    return BaseModules(label, blocks, {**shapes, **(base.shapes if base else {})})


def _common_blocks(reports: Sequence[AdapterReport]) -> int:
    """The largest published size; or the size that a header states, where all blocks are below it."""
    sizes = {r.model_blocks: r for r in reports if r.model_blocks is not None}
    stated = [size for size in sizes if size not in SIZES]
    if not stated:
        return max(sizes, default=_DEFAULT)
    size = min(stated)
    other = next((r for r in reports if r.blocks and not _belongs(r, size)), None)
    if other is not None:
        raise NotFusable(
            f"{sizes[size].path} is made for a model of {counted_rows(size, 'block')}, {other.path} for one of "
            f"{other.model_blocks}, and nothing says which blocks are the same.",
            hint="Merge adapters that were trained on one model.",
        )
    return size


def _belongs(report: AdapterReport, size: int) -> bool:
    """Whether an adapter may be one for `size` blocks: it says so, or says nothing and fits."""
    return report.model_blocks == size or (
        report.info.base_blocks is None and report.blocks[-1] < size
    )


def _renumbering(report: AdapterReport, blocks: int) -> tuple[int, ...]:
    made_for = report.model_blocks
    if made_for is None or made_for not in SIZES or blocks not in SIZES or made_for >= blocks:
        return ()
    return block_map(made_for, blocks)


def _joined(
    name: str,
    known: tuple[int, ...],
    told: tuple[int, ...],
    path: Path,
    origin: dict[str, Path],
) -> tuple[int, ...]:
    """Both shapes in one, each side from where it is told."""
    first = origin.setdefault(name, path)
    if not known or not told:
        return known or told
    agree = len(known) == len(told) and all(
        0 in pair or pair[0] == pair[1] for pair in zip(known, told, strict=True)
    )
    if not agree:
        raise NotFusable(
            f"{first} and {path} cannot be merged: {name} is made for a weight of {_text(known)} in "
            f"the one and of {_text(told)} in the other.",
            hint="They were trained on different models.",
        )
    return tuple(a or b for a, b in zip(known, told, strict=True))


def _text(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(str(side) if side else "any" for side in shape) + "]"
