"""Many pictures on one: columns under their labels, rows beside theirs, one block a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage
from lorakit.preview.grid.lettering import font_for, line_height, wrapped

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from lorakit.preview.grid.lettering import Font

MOST_PIXELS = 40_000_000
LONGEST_SIDE = 16_000
_LEAST_CELL = 24
_LEAST_COLUMN = 96
_LEAST_SHEET = 420
_LABEL_LINES = 4
_INK, _QUIET, _PAPER, _EMPTY = "#1c1c1c", "#666666", "#ffffff", "#e6e6e6"


@dataclass(frozen=True)
class SheetText:
    """What stands on a sheet: a title, a line of remarks, and the labels of its places."""

    title: str
    remarks: str
    columns: Sequence[str]
    rows: Sequence[str]
    pages: Sequence[str]


@dataclass(frozen=True)
class _Plan:
    """Where everything goes, in pixels; `scale` shrinks the pictures."""

    text: SheetText
    scale: float
    font: Font
    cell: tuple[int, int]
    column: int
    row_labels: int
    gap: int
    title: list[str]
    remarks: list[str]
    heads: list[list[str]]
    sides: list[list[str]]
    page_heads: list[list[str]]

    @property
    def line(self) -> int:
        return line_height(self.font)

    @property
    def width(self) -> int:
        grid = len(self.text.columns) * (self.column + self.gap) - self.gap
        inner = self.row_labels + grid
        return max(inner, _LEAST_SHEET) + 2 * self.gap

    @property
    def head_height(self) -> int:
        return max(map(len, self.heads)) * self.line + self.gap // 2

    @property
    def row_height(self) -> int:
        return max(self.cell[1], max(map(len, self.sides)) * self.line)

    def page_height(self, page: int) -> int:
        rows = len(self.text.rows) * (self.row_height + self.gap)
        return len(self.page_heads[page]) * self.line + self.head_height + rows + self.gap

    @property
    def top(self) -> int:
        return self.gap + (len(self.title) + len(self.remarks)) * self.line + self.gap

    @property
    def height(self) -> int:
        return self.top + sum(map(self.page_height, range(len(self.text.pages))))


def draw_sheet(
    text: SheetText,
    picture: Callable[[int, int, int], Path | str],
    *,
    largest: tuple[int, int],
    most_pixels: int = MOST_PIXELS,
) -> Image:
    """Draw the sheet.

    Args:
        text: titles and labels; long ones are broken into lines.
        picture: gives for column, row and page the file to show, or a text to show in its place.
        largest: width and height that hold every picture.
        most_pixels: of the sheet; pictures are shrunk to stay within, and within `LONGEST_SIDE`.

    Raises:
        BadUsage: the sheet would be too large however small its pictures are.
    """
    from PIL import Image, ImageDraw

    plan = _fitting(text, largest, most_pixels)
    sheet = Image.new("RGB", (plan.width, plan.height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, plan, plan.title, plan.gap, plan.gap, _INK)
    _write(draw, plan, plan.remarks, plan.gap, plan.gap + len(plan.title) * plan.line, _QUIET)
    top = plan.top
    for page in range(len(text.pages)):
        _draw_page(sheet, draw, plan, page, top, picture)
        top += plan.page_height(page)
    return sheet


def _fitting(text: SheetText, largest: tuple[int, int], most_pixels: int) -> _Plan:
    scale = 1.0
    while True:
        plan = _plan(text, largest, scale)
        too_much = max(
            math.sqrt(plan.width * plan.height / most_pixels),
            plan.width / LONGEST_SIDE,
            plan.height / LONGEST_SIDE,
        )
        if too_much <= 1.0:
            return plan
        if max(plan.cell) <= _LEAST_CELL:
            raise BadUsage(
                f"{len(text.columns)} × {len(text.rows)} × {len(text.pages)} pictures are too many for "
                "one sheet.",
                hint="The page shows them all, and each is a file of its own.",
            )
        scale *= min(0.95, 1.0 / too_much)


def _plan(text: SheetText, largest: tuple[int, int], scale: float) -> _Plan:
    cell = tuple(max(round(side * scale), _LEAST_CELL) for side in largest)
    size = min(max(cell[0] // 24, 13), 28)
    font = font_for((text.title, text.remarks, *text.columns, *text.rows, *text.pages), size)
    gap = max(cell[0] // 64, 8)
    # Narrow columns are widened for their labels, as long as there are few.
    column = max(cell[0], min(_LEAST_COLUMN, 6 * size) if len(text.columns) <= 64 else 0)
    widest = max(
        (font.getlength(part) for label in text.rows for part in label.splitlines()), default=0.0
    )
    room = min(math.ceil(widest), max(9 * size, cell[0] // 2))
    row_labels = room + gap if widest else 0
    inner = max(row_labels + len(text.columns) * (column + gap) - gap, _LEAST_SHEET)
    row_lines = max(cell[1] // line_height(font), 3)
    return _Plan(
        text,
        scale,
        font,
        (cell[0], cell[1]),
        column,
        row_labels,
        gap,
        title=wrapped(text.title, font, inner, 6) if text.title else [],
        remarks=wrapped(text.remarks, font, inner, 6) if text.remarks else [],
        heads=[
            wrapped(label, font, column, _LABEL_LINES) if label else [] for label in text.columns
        ],
        sides=[wrapped(label, font, room, row_lines) if label else [] for label in text.rows],
        page_heads=[wrapped(label, font, inner, 3) if label else [] for label in text.pages],
    )


def _draw_page(
    sheet: Image,
    draw: ImageDraw,
    plan: _Plan,
    page: int,
    top: int,
    picture: Callable[[int, int, int], Path | str],
) -> None:
    _write(draw, plan, plan.page_heads[page], plan.gap, top, _INK)
    top += len(plan.page_heads[page]) * plan.line
    for column, head in enumerate(plan.heads):
        # Labels stand on the pictures, whatever their number of lines.
        lower = top + plan.head_height - plan.gap // 2 - len(head) * plan.line
        _write(draw, plan, head, _left(plan, column), lower, _INK)
    top += plan.head_height
    for row, side in enumerate(plan.sides):
        at = top + row * (plan.row_height + plan.gap)
        _write(draw, plan, side, plan.gap, at, _INK)
        for column in range(len(plan.heads)):
            _place(sheet, draw, plan, (_left(plan, column), at), picture(column, row, page))


def _left(plan: _Plan, column: int) -> int:
    return plan.gap + plan.row_labels + column * (plan.column + plan.gap)


def _place(
    sheet: Image, draw: ImageDraw, plan: _Plan, at: tuple[int, int], shown: Path | str
) -> None:
    from PIL import Image

    if isinstance(shown, str):
        width, height = plan.cell
        draw.rectangle((*at, at[0] + width - 1, at[1] + height - 1), fill=_EMPTY)
        lines = wrapped(shown, plan.font, width - plan.gap, max(height // plan.line, 1))
        _write(draw, plan, lines, at[0] + plan.gap // 2, at[1] + plan.gap // 2, _QUIET)
        return
    with Image.open(shown) as image:
        size = tuple(max(round(side * plan.scale), 1) for side in image.size)
        made = image.convert("RGB")
    if size != made.size:
        made = made.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)
    sheet.paste(made, at)


def _write(
    draw: ImageDraw, plan: _Plan, lines: Sequence[str], left: int, top: int, colour: str
) -> None:
    for number, line in enumerate(lines):
        draw.text((left, top + number * plan.line), line, fill=colour, font=plan.font)
