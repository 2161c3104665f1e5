"""Drawings of an adapter as SVG paths: which modules it changes how much, its spectra, and a placeholder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from lorakit.formats import anima
from lorakit.report.portrait import Curve

CELL, ROW, GAP, LABEL, RULER = 10, 12, 2, 76, 14
LEVELS = 5
_ROWS: Mapping[str, str] = {
    **{
        f"{part}.{inner}_proj": f"{short} {inner if inner != 'output' else 'out'}"
        for part, short in (("self_attn", "self"), ("cross_attn", "cross"))
        for inner in ("q", "k", "v", "output")
    },
    "mlp.layer1": "mlp in",
    "mlp.layer2": "mlp out",
    **{
        f"adaln_modulation_{part}.{n}": f"adaln {short} {n}"
        for part, short in (("self_attn", "self"), ("cross_attn", "cross"), ("mlp", "mlp"))
        for n in (1, 2)
    },
}


@dataclass(frozen=True)
class BlockMap:
    """A row for each module of a block that is changed anywhere, a column for each block.

    `paths` are cells by how much they are changed: 0 is not, 1 to 5 is a little to the most, "some" is
    changed by an amount that depends on the base.
    """

    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    ruler: tuple[tuple[int, int], ...]
    paths: Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """A curve as SVG points."""

    kind: str
    points: str


@dataclass(frozen=True)
class Plot:
    """Curves over the number of the singular value, from 1 to `last`."""

    width: int
    height: int
    last: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Placeholder:
    """What stands where there is no cover: a hue, an initial, and a bar a block as tall as its change."""

    hue: int
    letter: str
    bars: str


def block_map(modules: Collection[str], sizes: Mapping[str, float], blocks: int) -> BlockMap | None:
    """The map of the modules of the transformer's blocks; None where none is changed."""
    changed = set(modules)
    rows = [
        (inner, label)
        for inner, label in _ROWS.items()
        if any(f"blocks.{block}.{inner}" in changed for block in range(blocks))
    ]
    if not rows:
        return None
    inside = [size for name, size in sizes.items() if anima.block_of(name) is not None]
    most = max(inside, default=0.0)
    cells: dict[str, list[str]] = {}
    for number, (inner, _) in enumerate(rows):
        for block in range(blocks):
            name = f"blocks.{block}.{inner}"
            level = _level(name, changed, sizes, most)
            x, y = LABEL + block * CELL, RULER + number * ROW
            cells.setdefault(level, []).append(f"M{x} {y}h{CELL - GAP}v{ROW - GAP}h-{CELL - GAP}z")
    return BlockMap(
        LABEL + blocks * CELL,
        RULER + len(rows) * ROW,
        tuple((label, RULER + n * ROW + ROW - 3) for n, (_, label) in enumerate(rows)),
        tuple((block, LABEL + block * CELL) for block in range(0, blocks, 5)),
        {level: "".join(cells[level]) for level in sorted(cells)},
    )


def _level(name: str, changed: Collection[str], sizes: Mapping[str, float], most: float) -> str:
    if name not in changed:
        return "0"
    if name not in sizes:
        return "some"
    # The root spreads what is small: most modules are changed far less than the most changed one.
    part = sqrt(sizes[name] / most) if most else 0.0
    return str(min(int(part * LEVELS) + 1, LEVELS))


def plot(curves: Sequence[Curve], width: int = 320, height: int = 150) -> Plot | None:
    """The curves of the kinds, in one plot; None without any."""
    last = max((len(curve.values) for curve in curves), default=0)
    if not last:
        return None
    step = width / max(last - 1, 1)
    lines = []
    for curve in curves:
        values = curve.values if len(curve.values) > 1 else (*curve.values, 0.0)
        points = (
            f"{at * step:.1f},{height * (1 - min(value, 1.0)):.1f}"
            for at, value in enumerate(values)
        )
        lines.append(Line(curve.kind, " ".join(points)))
    return Plot(width, height, last, tuple(lines))


def placeholder(name: str, content: str, sizes: Mapping[str, float]) -> Placeholder:
    """A picture of an adapter without a cover, on a field of 100 by 100."""
    by_block: dict[int, float] = {}
    for module, size in sizes.items():
        block = anima.block_of(module)
        if block is not None:
            by_block[block] = by_block.get(block, 0.0) + size * size
    letter = next((c for c in name if c.isalnum()), "?").upper()
    if not by_block:
        return Placeholder(_hue(content), letter, "")
    count, most = max(by_block) + 1, sqrt(max(by_block.values())) or 1.0
    width = 84 / count
    bars = []
    for block in range(count):
        tall = 30 * sqrt(by_block.get(block, 0.0)) / most
        x = 8 + block * width
        bars.append(f"M{x:.1f} 88v-{tall:.1f}h{width * 0.66:.1f}v{tall:.1f}z")
    return Placeholder(_hue(content), letter, "".join(bars))


def _hue(content: str) -> int:
    return int(content[:6], 16) % 360
