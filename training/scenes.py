"""The pictures that the demo model learns: one shape on a plain background, and how it is prompted."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128
"""Width and height of a scene in pixels."""

_OVERSAMPLING = 4

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (36, 86, 214),
    "yellow": (250, 205, 40),
    "purple": (138, 60, 180),
    "orange": (243, 124, 30),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (246, 246, 244),
    "grey": (150, 152, 156),
    "pink": (250, 186, 204),
    "cyan": (140, 214, 230),
    "brown": (120, 84, 58),
    "navy": (24, 32, 74),
}
SHAPES = ("circle", "square", "triangle", "star")
# Centre of the shape as a share of the side.
PLACES: dict[str, tuple[float, float]] = {
    "in the centre": (0.5, 0.5),
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.28),
    "at the bottom": (0.5, 0.72),
}
# Half the width of the shape as a share of the side.
SIZES: dict[str, float] = {"small": 0.13, "large": 0.23}

# Words that real prompts carry; they change nothing here, and the model learns to pass over them.
FILLERS = ("masterpiece", "best quality", "score_7", "safe", "simple", "flat", "picture", "highres")


@dataclass(frozen=True)
class Scene:
    """One shape on a plain background. `jitter` moves and scales it a little, unseen by the prompt."""

    shape: str
    colour: str
    background: str
    place: str
    size: str
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_lots(lots: random.Random) -> Scene:
    """A scene at random, every combination alike."""
    jitter = (lots.uniform(-0.025, 0.025), lots.uniform(-0.025, 0.025), lots.uniform(-0.08, 0.08))
    return Scene(
        lots.choice(SHAPES),
        lots.choice(tuple(COLOURS)),
        lots.choice(tuple(BACKGROUNDS)),
        lots.choice(tuple(PLACES)),
        lots.choice(tuple(SIZES)),
        jitter,
    )


def prompt_of(scene: Scene, lots: random.Random | None = None) -> str:
    """What a person would ask for; with `lots`, in varied order and now and then with fillers."""
    what = f"a {scene.size} {scene.colour} {scene.shape} {scene.place}"
    where = f"{scene.background} background"
    if lots is None:
        return f"{what}, {where}"
    parts = [what, where] if lots.random() < 0.8 else [where, what]
    if lots.random() < 0.25:
        fillers = lots.sample(FILLERS, lots.randint(1, 3))
        parts = [*fillers, *parts] if lots.random() < 0.7 else [*parts, *fillers]
    return ", ".join(parts)


def outline(scene: Scene, side: int = SIDE) -> list[tuple[float, float]]:
    """The corners of the shape in pixels of a picture of `side`; a circle has many."""
    across, down = PLACES[scene.place]
    x = (across + scene.jitter[0]) * side
    y = (down + scene.jitter[1]) * side
    radius = SIZES[scene.size] * (1.0 + scene.jitter[2]) * side
    if scene.shape == "square":
        half = 0.88 * radius
        return [
            (x - half, y - half),
            (x + half, y - half),
            (x + half, y + half),
            (x - half, y + half),
        ]
    if scene.shape == "triangle":
        return _spokes(x, y + 0.2 * radius, [1.15 * radius] * 3)
    if scene.shape == "star":
        return _spokes(x, y, [1.2 * radius, 0.5 * radius] * 5)
    return _spokes(x, y, [radius] * 90)


def draw(scene: Scene, side: int = SIDE) -> Image:
    """The scene as an RGB picture of `side` × `side`, with smooth edges."""
    return paint(scene, COLOURS[scene.colour], BACKGROUNDS[scene.background], side=side)


def paint(
    scene: Scene,
    fill: tuple[int, int, int] | None,
    ground: tuple[int, int, int],
    *,
    line: tuple[int, int, int] | None = None,
    thickness: float = 0.0,
    side: int = SIDE,
) -> Image:
    """The scene's shape in `fill` on `ground`, with a line of `thickness` pixels round it if asked."""
    from PIL import Image as images
    from PIL import ImageDraw

    fine = side * _OVERSAMPLING
    picture = images.new("RGB", (fine, fine), ground)
    draw_on = ImageDraw.Draw(picture)
    corners = outline(scene, fine)
    if fill is not None:
        draw_on.polygon(corners, fill=fill)
    if line is not None:
        width = round(thickness * _OVERSAMPLING)
        draw_on.line([*corners, corners[0], corners[1]], fill=line, width=width, joint="curve")
    return picture.resize((side, side), images.Resampling.BOX)


def _spokes(x: float, y: float, lengths: list[float]) -> list[tuple[float, float]]:
    turn = 2.0 * math.pi / len(lengths)
    return [
        (x + length * math.sin(i * turn), y - length * math.cos(i * turn))
        for i, length in enumerate(lengths)
    ]
