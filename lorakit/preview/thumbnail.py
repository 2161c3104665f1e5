"""Covers, small enough that a page may hold hundreds of them."""

from __future__ import annotations

import io
from pathlib import Path

_QUALITY = 82


def thumbnail(picture: Path | bytes, side: int) -> bytes | None:
    """A picture, or the one at a path, as WebP, at most `side` pixels wide and high; None where it is none.

    Raises `ImportError` without Pillow.
    """
    from PIL import Image

    stream = io.BytesIO()
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
            small = image.convert("RGB")
            small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small.save(stream, "webp", quality=_QUALITY)
    return stream.getvalue()
