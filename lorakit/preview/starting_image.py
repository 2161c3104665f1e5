"""Reading the image that a picture starts from, whatever its size, mode and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile, NotFound

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's names for what has more than 8 bits in a channel; its own conversion would cut them off.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_starting_image(path: Path, width: int, height: int) -> Image:
    """The image in `path` as RGB of `width` × `height` pixels.

    It is turned as its EXIF orientation says, laid on white where it is transparent, scaled until it
    covers the size, and cut evenly where it is too long. Of an animation the first frame is taken.

    Raises:
        NotFound: there is no such file.
        BadFile: it is no image that Pillow can read, or a damaged one.
    """
    from PIL import Image as images
    from PIL import ImageOps

    if not path.is_file():
        raise NotFound(f"The starting image '{path}' does not exist.", hint="Name an image file.")
    try:
        with images.open(path) as opened:
            opened.load()
            image = _rgb(ImageOps.exif_transpose(opened))
    # Pillow raises errors of many kinds at a damaged file, by format.
    except (OSError, SyntaxError, ValueError, images.DecompressionBombError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadFile(
            f"The starting image '{path}' cannot be read: {reason}",
            hint="Give a PNG, JPEG, WebP or other common image.",
        ) from error
    return ImageOps.fit(image, (width, height), images.Resampling.LANCZOS)


def _rgb(image: Image) -> Image:
    from PIL import Image as images

    if image.mode in _SIXTEEN_BITS:
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _eight_bits(image: Image) -> Image:
    """The upper 8 of 16 bits, as greys."""
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
