"""The table of `lorakit check` by kind or by block: a bar for each entry and one for their sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lorakit.cli.render import rows
from lorakit.merging.checking.relations import meetings

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.merging.checking.comparing import Comparison
    from lorakit.merging.checking.grouping import Group

BAR = "█"
WIDEST = 24
# With more entries than this there is room for the sum and the strongest entry alone.
_MOST_COLUMNS = 3
_NAMES, _FIGURES = 12, 11


def show_groups(console: Console, comparison: Comparison, by: str, groups: Sequence[Group]) -> None:
    """Each group's sizes; where two entries clearly meet, with the cosine there."""
    labels = comparison.labels
    met = _met(comparison, by)
    few = len(labels) <= _MOST_COLUMNS
    aside = max((len(said) + 2 for said in met.values()), default=0)
    bars = len(labels) + 1 if few else 2
    room = (console.width - _NAMES - aside) // bars - _FIGURES
    cells = _Cells(comparison, groups, max(3, min(room, WIDEST)))
    columns = [by.removesuffix("s"), *(labels if few else ["strongest"])]
    body = [[one.name, *(cells.each(one) if few else [cells.strongest(one)])] for one in groups]
    if len(labels) > 1:
        columns.append("together")
        for row, one in zip(body, groups, strict=True):
            row.append(cells.together(one))
    if met:
        columns.append("stands out")
        for row, one in zip(body, groups, strict=True):
            row.append(met.get(one.name, ""))
    rows(console, columns, body)


def _met(comparison: Comparison, by: str) -> dict[str, str]:
    """By group, the cosines that stand out there, with the pair where there are several."""
    labels = comparison.labels
    found: dict[str, list[str]] = {}
    for one in meetings(comparison):
        if one.where == by:
            pair = "" if len(labels) == 2 else f"{labels[one.one]}, {labels[one.other]} "
            for name in one.names:
                found.setdefault(name, []).append(f"{pair}{one.cosine:+.2f}")
    return {name: "; ".join(said) for name, said in found.items()}


class _Cells:
    """Figures and bars, all on one scale."""

    def __init__(self, comparison: Comparison, groups: Sequence[Group], width: int) -> None:
        self._comparison, self._width = comparison, width
        self._units: Mapping[str, float | None] = {g.name: unit(comparison, g) for g in groups}
        sizes = (
            size / whole
            for g in groups
            if (whole := self._units[g.name])
            for size in (*self._sizes(g), g.sum_size(comparison.strengths))
        )
        self._most = max(sizes, default=0.0)

    def each(self, group: Group) -> list[str]:
        """A cell for each entry."""
        return [self._cell(group, size) for size in self._sizes(group)]

    def strongest(self, group: Group) -> str:
        """The entry that changes most there."""
        sizes = self._sizes(group)
        at = sizes.index(max(sizes))
        whole = self._units[group.name]
        return f"{self._comparison.labels[at]} {percent(sizes[at] / whole) if whole else '–'}"

    def together(self, group: Group) -> str:
        """A cell for the sum."""
        return self._cell(group, group.sum_size(self._comparison.strengths))

    def _sizes(self, group: Group) -> list[float]:
        return [group.size(at, w) for at, w in enumerate(self._comparison.strengths)]

    def _cell(self, group: Group, size: float) -> str:
        whole = self._units[group.name]
        if not whole:
            return f"{'–':>8}"
        return f"{percent(size / whole):>8} {bar(size / whole, self._most, self._width)}"


def unit(comparison: Comparison, group: Group) -> float | None:
    """What sizes are a part of: the base's weights there, else the strongest entry as a whole.

    None where the base's other weights are known and these are not, as those of a text encoder.
    """
    if comparison.whole.base:
        return group.base**0.5 if group.base else None
    whole = comparison.whole
    return max(whole.size(at, w) for at, w in enumerate(comparison.strengths)) or None


def bar(value: float, most: float, width: int = WIDEST) -> str:
    """A bar as long as `value` beside `most`; something for anything above nothing."""
    if not most or value <= 0:
        return ""
    return BAR * max(1, round(width * value / most))


def percent(part: float) -> str:
    """A part of something, to two digits behind the point."""
    return f"{100 * part:.2f} %"
