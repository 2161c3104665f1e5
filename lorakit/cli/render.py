"""How facts look in a terminal of 80 columns: fact lists, tables, block maps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

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
    """A bold line, with something said beside it."""
    console.print(
        Text.assemble((visible(text), "bold"), ("  " + visible(aside) if aside else "", "dim"))
    )


def rows(
    console: Console,
    columns: Sequence[str],
    body: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
) -> None:
    """A plain table; columns named in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        # The first column names the thing: it may fold, but never lose its end.
        justify = "right" if name in right else "left"
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in body:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)


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
