"""Which blocks and kinds of module something touches, drawn with one column a block."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from lorakit.formats import anima

FULL, PART, NONE = "█", "▄", "·"
LEGEND = f"{FULL} every linear layer  {PART} some  {NONE} none"


def map_rows(modules: Collection[str], blocks: int) -> list[tuple[str, str]]:
    """(kind, one character a block) for every kind, from canonical module names."""
    found = set(modules)
    rows: list[tuple[str, str]] = []
    for kind, inner in anima.BLOCK_LINEARS.items():
        cells = (
            _cell(sum(f"blocks.{i}.{name}" in found for name in inner), len(inner))
            for i in range(blocks)
        )
        rows.append((kind, "".join(cells)))
    return rows


def ruler(blocks: int) -> str:
    """Block numbers above the columns, every five."""
    line = ""
    for index in range(0, blocks, 5):
        line = line.ljust(index) + str(index)
    return line


def untouched(
    modules: Iterable[str], blocks: int, components: Iterable[str] = anima.COMPONENTS
) -> list[str]:
    """In words, what a trainer left out: whole blocks, whole kinds, whole components."""
    found = set(modules)
    hit_blocks = {anima.block_of(name) for name in found}
    hit_kinds = {anima.kind_of(name) for name in found}
    hit_components = {anima.component_of(name) for name in found}
    gone = []
    absent = [index for index in range(blocks) if index not in hit_blocks]
    if absent and len(absent) < blocks:
        gone.append(f"{'block' if len(absent) == 1 else 'blocks'} {ranges(absent)}")
    if "dit" in hit_components:
        gone += [kind for kind in anima.KINDS if kind not in hit_kinds]
    return gone + [name for name in components if name not in hit_components]


def ranges(numbers: Iterable[int]) -> str:
    """`0-2, 5` for 0, 1, 2, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _cell(hit: int, of: int) -> str:
    return FULL if hit == of else PART if hit else NONE
