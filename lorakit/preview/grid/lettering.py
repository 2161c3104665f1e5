"""Text on pictures: a font that has the characters, and lines that fit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

# Pillow brings letters for Latin text; for other scripts the system may have one of these.
_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "YuGothM.ttc",
    "msgothic.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
)
_LAST_LATIN = "\u024f"


def font_for(texts: Iterable[str], size: int) -> Font:
    """A font of `size` pixels that most likely has the characters of `texts`."""
    from PIL import ImageFont

    if any(sign > _LAST_LATIN and not "\u2010" <= sign <= "\u2044" for t in texts for sign in t):
        name = _wide_font()
        if name is not None:
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


@cache
def _wide_font() -> str | None:
    from PIL import ImageFont

    for name in _WIDE_FONTS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        return name
    return None


def line_height(font: Font) -> int:
    """The distance of two lines in pixels."""
    _, top, _, bottom = font.getbbox("Ágjy|")
    return round((bottom - top) * 1.25)


def wrapped(text: str, font: Font, width: float, most: int) -> list[str]:
    """`text` in at most `most` lines of at most `width` pixels; what is left out is marked with `…`.

    Lines are broken between words where that is possible, else within.
    """
    lines: list[str] = []
    for part in text.splitlines() or [""]:
        line = ""
        for word in part.split():
            joined = f"{line} {word}".strip()
            if font.getlength(joined) <= width:
                line = joined
                continue
            lines += [line] if line else []
            *whole, line = _pieces(word, font, width)
            lines += whole
        lines.append(line)
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and font.getlength(f"{last}…") > width:
        last = last[:-1]
    return [*lines[: most - 1], f"{last}…"]


def _pieces(word: str, font: Font, width: float) -> list[str]:
    """A word cut into pieces that fit, of at least one character."""
    pieces = [""]
    for sign in word:
        if pieces[-1] and font.getlength(pieces[-1] + sign) > width:
            pieces.append("")
        pieces[-1] += sign
    return pieces
