"""Pictures as bytes for a page: as they are, or compressed where together they would be too many."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 48_000_000
_BYTES_A_PIXEL = 0.25  # of WebP at the quality below, rather too high
_QUALITY = 88
_LEAST_SCALE = 0.05


@dataclass(frozen=True)
class Embedded:
    """An image file's bytes and MIME type, and the size in pixels that the original has."""

    content: bytes
    mime: str
    width: int
    height: int


def embed(
    pictures: Sequence[Path], *, most: int = MOST_BYTES, with_texts: bool = True
) -> tuple[dict[Path, Embedded], str]:
    """The PNG files in `pictures` for a page, and a sentence on what was done to them, if anything.

    Args:
        pictures: files that are there.
        most: bytes that they may have together; beyond it they become WebP, and smaller if need be.
        with_texts: False leaves out what the files say of how they were made.
    """
    total = sum(path.stat().st_size for path in pictures)
    if total <= most:
        return {path: _whole(path, with_texts) for path in pictures}, ""
    needed = sum(width * height for width, height in map(picture_size, pictures)) * _BYTES_A_PIXEL
    scale = min(1.0, (most / needed) ** 0.5)
    made = {path: _compressed(path, scale) for path in pictures}
    # The estimate is for usual pictures; noise takes more.
    while (held := sum(len(one.content) for one in made.values())) > most and scale > _LEAST_SCALE:
        scale *= 0.9 * (most / held) ** 0.5
        made = {path: _compressed(path, scale) for path in pictures}
    shrunk = "" if scale == 1.0 else f" and shrunk to {scale:.0%}"
    return made, (
        f"The pictures in this page are compressed{shrunk}, or it would have {total / 1e6:.0f} MB; the "
        "originals lie beside it."
    )


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def _whole(path: Path, with_texts: bool) -> Embedded:
    width, height = picture_size(path)
    if with_texts:
        return Embedded(path.read_bytes(), "image/png", width, height)
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(stream, "png")
    return Embedded(stream.getvalue(), "image/png", width, height)


def _compressed(path: Path, scale: float) -> Embedded:
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(path) as image:
        width, height = image.size
        smaller = image.convert("RGB")
    if scale < 1.0:
        target = max(round(width * scale), 1), max(round(height * scale), 1)
        smaller = smaller.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
    smaller.save(stream, "webp", quality=_QUALITY)
    return Embedded(stream.getvalue(), "image/webp", width, height)
