"""How facts look in a terminal of 80 columns: fact lists, tables, block maps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lorakit.cli.blockmap import LEGEND, map_rows, ruler
from lorakit.cli.output import visible


def facts(console: Console, pairs: Iterable[tuple[str, str | None]]) -> None:
    """Name and value in two columns; pairs without a value are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            table.add_row(Text(name), Text(visible(value)))
    console.print(table)


def heading(console: Console, text: str, aside: str = "") -> None:
    """A bold line, with something said beside it, or below where it does not fit."""
    line = visible(text).replace("\n", "\\n")
    beside = visible(aside)
    between = "  " if cell_len(line) + 2 + cell_len(beside) <= console.width else "\n"
    console.print(Text.assemble((line, "bold"), (between + beside if aside else "", "dim")))


def rows(
    console: Console,
    columns: Sequence[str],
    body: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
    drawn: Collection[str] = (),
) -> None:
    """A plain table; columns named in `right` are aligned to the right, those in `drawn` hold drawings.

    Laid out here and not by rich's table, which takes most of a second for a thousand rows. Cells that
    do not fit are folded, so that no name loses its end; drawings would mean something else then, and
    give way last. Where even that is wider than the console, the heading stays above its columns.
    """
    table = [[visible(cell) for cell in row] for row in body]
    widths = [
        max(cell_len(cell) for cell in column) for column in zip(columns, *table, strict=True)
    ]
    _shrink(widths, [name in drawn for name in columns], console.width)
    aligned = [name in right for name in columns]
    console.print(
        Text("\n".join(_line(console, columns, widths, aligned)), style="dim"), soft_wrap=True
    )
    lines = [line for row in table for line in _line(console, row, widths, aligned)]
    if lines:
        console.out("\n".join(lines), highlight=False)


def _line(
    console: Console, cells: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]
) -> list[str]:
    """One row, on as many lines as its tallest cell takes."""
    folded = [
        [cell] if cell_len(cell) <= width else _fold(console, cell, width)
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for parts in zip_longest(*folded, fillvalue=""):
        padded = (
            " " * (width - cell_len(part)) + part if to_right else set_cell_size(part, width)
            for part, width, to_right in zip(parts, widths, aligned, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return lines


def _fold(console: Console, cell: str, width: int) -> list[str]:
    return [line.plain.rstrip() for line in Text(cell).wrap(console, width, overflow="fold")]


def _shrink(widths: list[int], drawn: Sequence[bool], room: int) -> None:
    """Take from the widest column until all fit, with two spaces between; none below eight."""
    for allowed in ([not one for one in drawn], drawn):
        at = [index for index, may in enumerate(allowed) if may]
        while sum(widths) + 2 * (len(widths) - 1) > room and at:
            widest = max(at, key=lambda index: widths[index])
            if widths[widest] <= 8:
                break
            widths[widest] -= 1


def block_map(console: Console, modules: Collection[str], blocks: int) -> None:
    """One row a kind of module, one column a block, under a ruler of block numbers."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("", Text(ruler(blocks), style="dim"))
    for kind, cells in map_rows(modules, blocks):
        table.add_row(kind, Text(cells, style="cyan"))
    table.add_row("", Text(LEGEND, style="dim"))
    console.print(Padding(table, (1, 0, 0, 0)))


def notes(console: Console, messages: Iterable[str], style: str = "yellow") -> None:
    """One bullet a message."""
    for message in messages:
        table = Table.grid(padding=(0, 1))
        table.add_column(style=style)
        table.add_column(overflow="fold")
        table.add_row("!", Text(visible(message)))
        console.print(table)


def counted(
    counts: Mapping[int, int] | Mapping[str, int] | Mapping[float, int], unit: str = ""
) -> str:
    """`16` when all agree, else `16 × 240, 8 × 40`."""
    if len(counts) == 1:
        return f"{next(iter(counts)):g}" if _numbers(counts) else str(next(iter(counts)))
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    named = ((f"{key:g}" if isinstance(key, int | float) else key, count) for key, count in ordered)
    return ", ".join(f"{key} × {count}{unit}" for key, count in named)


def _numbers(counts: Mapping[int, int] | Mapping[str, int] | Mapping[float, int]) -> bool:
    return isinstance(next(iter(counts)), int | float)


def size(count: int) -> str:
    """Bytes in decimal units, as downloads are labelled."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
