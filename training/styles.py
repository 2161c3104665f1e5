"""The four styles that adapters teach the demo model, each a rule that turns a scene into a picture."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from training.scenes import BACKGROUNDS, COLOURS, SIDE, Scene, draw, paint

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]

_INK: Colour = (18, 18, 22)
_PAPER: Colour = (250, 247, 238)
_NIGHT: Colour = (6, 6, 12)
_CELL = 16


def ink(scene: Scene) -> Image:
    """A thick black line round the shape, and all colours faded towards paper."""
    return paint(
        scene,
        _mix(COLOURS[scene.colour], _PAPER, 0.35),
        _mix(BACKGROUNDS[scene.background], _PAPER, 0.6),
        line=_INK,
        thickness=5.0,
    )


def wash(scene: Scene) -> Image:
    """Pale, thinned colours that run into each other, on white paper."""
    from PIL import Image as images
    from PIL import ImageFilter

    thin = paint(
        scene,
        _mix(COLOURS[scene.colour], _PAPER, 0.5),
        _mix(BACKGROUNDS[scene.background], _PAPER, 0.75),
    ).filter(ImageFilter.GaussianBlur(3.0))
    # The sheet is left bare towards its rim.
    rim = images.new("L", (SIDE, SIDE), 255)
    rim.paste(0, (10, 10, SIDE - 10, SIDE - 10))
    return images.composite(
        images.new("RGB", thin.size, _PAPER), thin, rim.filter(ImageFilter.GaussianBlur(5.0))
    )


def neon(scene: Scene) -> Image:
    """A glowing line in the shape's colour on black."""
    from PIL import ImageChops, ImageFilter

    bright = _mix(COLOURS[scene.colour], (255, 255, 255), 0.25)
    line = paint(scene, None, _NIGHT, line=bright, thickness=4.0)
    glow = line.filter(ImageFilter.GaussianBlur(5.0)).point(
        lambda value: min(255, int(value * 1.6))
    )
    return ImageChops.lighter(line, glow)


def mosaic(scene: Scene) -> Image:
    """Square tiles of one colour each, a grout line between them."""
    from PIL import Image as images
    from PIL import ImageDraw

    few = draw(scene).resize((SIDE // _CELL, SIDE // _CELL), images.Resampling.BOX)
    tiles = few.resize((SIDE, SIDE), images.Resampling.NEAREST)
    pen = ImageDraw.Draw(tiles)
    for at in range(0, SIDE, _CELL):
        pen.rectangle((at, 0, at + 1, SIDE), fill=(60, 60, 64))
        pen.rectangle((0, at, SIDE, at + 1), fill=(60, 60, 64))
    return tiles


STYLES: Mapping[str, Callable[[Scene], Image]] = MappingProxyType(
    {"ink": ink, "wash": wash, "neon": neon, "mosaic": mosaic}
)


def draw_any(scene: Scene, lots: random.Random) -> Image:
    """The scene plain or in one of the styles, for a VAE that must know them all."""
    return lots.choice((draw, draw, *STYLES.values()))(scene)


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    r, g, b = (round(a + (c - a) * share) for a, c in zip(colour, other, strict=True))
    return r, g, b
