"""Figures that tell whether a picture shows what was asked for, and how much of a style.

Each takes a picture as [height, width, 3], bytes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]

_TILE = 16


def luminance(picture: Picture) -> NDArray[np.float64]:
    """Rec. 709 luma of each pixel, 0 to 1."""
    light: NDArray[np.float64] = picture.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])
    return light / 255.0


def saturation(picture: Picture) -> float:
    """Mean distance of a pixel's highest channel from its lowest, 0 to 1 (chroma of HSV)."""
    pixels = picture.astype(np.float64) / 255.0
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def edge_darkness(picture: Picture) -> float:
    """How dark the darkest 4 in 100 pixels are that lie beside a strong edge, 0 to 1."""
    light = luminance(picture)
    down, across = np.gradient(light)
    steepness = np.hypot(down, across)
    edge = light[steepness >= np.quantile(steepness, 0.9)]
    return 1.0 - float(np.sort(edge)[: max(1, len(edge) * 4 // 10)].mean())


def darkness(picture: Picture) -> float:
    """1 - mean luminance."""
    return 1.0 - float(luminance(picture).mean())


def paleness(picture: Picture) -> float:
    """1 - mean chroma."""
    return 1.0 - saturation(picture)


def tiling(picture: Picture) -> float:
    """Deviation of luminance within the average tile of 16 pixels: what repeats from tile to tile."""
    light = luminance(picture)
    rows, columns = (side // _TILE for side in light.shape)
    tiles = light[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE)
    return float(tiles.mean(axis=(0, 2)).std())


STYLE_MEASURES: Mapping[str, Callable[[Picture], float]] = MappingProxyType(
    {"ink": edge_darkness, "wash": paleness, "neon": darkness, "mosaic": tiling}
)


def hue_share(picture: Picture, colour: tuple[int, int, int]) -> float:
    """Share of pixels of about the hue of `colour` (within 20 degrees) and not pale."""
    return float(_of_hue(picture, colour).mean())


def hue_centre(picture: Picture, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Where the pixels of that hue lie on average, across and down, as shares of the sides."""
    rows, columns = np.nonzero(_of_hue(picture, colour))
    if len(rows) == 0:
        return float("nan"), float("nan")
    height, width, _ = picture.shape
    return float(columns.mean() / width), float(rows.mean() / height)


def _of_hue(picture: Picture, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    wanted = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in colour))[0]
    pixels = picture.astype(np.float64) / 255.0
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    chroma = high - low
    safe = np.where(chroma > 0, chroma, 1.0)
    r, g, b = (pixels[..., i] for i in range(3))
    hue = np.where(
        high == r,
        ((g - b) / safe) % 6.0,
        np.where(high == g, (b - r) / safe + 2.0, (r - g) / safe + 4.0),
    )
    apart = np.abs(hue / 6.0 - wanted)
    near = np.minimum(apart, 1.0 - apart) < 20.0 / 360.0
    found: NDArray[np.bool_] = near & (chroma > 0.3)
    return found
