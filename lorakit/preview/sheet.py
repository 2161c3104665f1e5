"""Several pictures on one sheet, each under its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN = 12
_LABEL = 26


def side_by_side(pictures: Sequence[tuple[str, Image]]) -> Image:
    """One row of (label, picture), on white. Pictures may differ in size; they hang from the top."""
    from PIL import Image as images
    from PIL import ImageDraw, ImageFont

    width = sum(picture.width + _MARGIN for _, picture in pictures) + _MARGIN
    height = max(picture.height for _, picture in pictures) + _LABEL + 2 * _MARGIN
    sheet = images.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    left = _MARGIN
    for label, picture in pictures:
        draw.text((left, _MARGIN), label, fill="black", font=font)
        sheet.paste(picture, (left, _MARGIN + _LABEL))
        left += picture.width + _MARGIN
    return sheet
