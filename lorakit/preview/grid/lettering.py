"""Text on pictures: a font that has the characters, and lines that fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

# Pillow brings letters for English; for other languages the system may have one of these.
_OTHER_FONTS = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "YuGothM.ttc",
    "msgothic.ttc",
    "Hiragino Sans GB.ttc",
)
_NO_CHARACTER = "\U0010ffff"


def font_for(texts: Iterable[str], size: int) -> Font:
    """The font of `size` pixels that has the most of the characters in `texts`."""
    from PIL import ImageFont

    signs = {sign for text in texts for sign in text if sign.isprintable()}
    best: Font = ImageFont.load_default(size)
    missing = lacking(best, signs)
    for name in _OTHER_FONTS:
        if not missing:
            break
        try:
            other = ImageFont.truetype(name, size)
        except OSError:
            continue
        if len(left := lacking(other, signs)) < len(missing):
            best, missing = other, left
    return best


def lacking(font: Font, signs: Iterable[str]) -> set[str]:
    """Those of `signs` for which `font` draws what it draws for a character that does not exist."""
    none = bytes(font.getmask(_NO_CHARACTER))
    return {sign for sign in signs if none and bytes(font.getmask(sign)) == none}


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
