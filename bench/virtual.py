"""Full-size models of random weights, at the places where sketches look and nowhere else.

A sketch reads 347,136 of the 2.1 billion weights, so what a sketch of such a model says can be had without
the model: thousands of siblings in minutes. The weights that a sketch would see are drawn with the sizes of
rows and columns spread as in trained models; `bench.trace` checks on whole files that nothing differs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from math import prod

import numpy as np
import torch

from bench.files import BLOCKS, base_tensors
from lorakit.formats import anima
from lorakit.sketches.positions import Positions, positions
from lorakit.sketches.sketch import Sketch

Values = Mapping[str, np.ndarray]
Rounding = Callable[[np.ndarray], np.ndarray]
Wanted = Callable[[str], bool]

# The spread of the sizes of rows and of columns, as exponents of a normal distribution.
_ROWS, _COLUMNS = 0.3, 0.2
# How fast the singular values of a LoRA fall, and how unevenly modules are changed.
_DECAY, _UNEVEN = 8.0, 0.5


@cache
def matrices() -> Mapping[str, tuple[int, int]]:
    """(out, in) of every matrix of the model, by canonical name."""
    shapes = {name.removesuffix(".weight"): shape for name, shape in base_tensors().items()}
    return {name: (s[0], prod(s[1:])) for name, s in shapes.items() if len(s) > 1}


def usual(name: str) -> bool:
    """What style LoRAs change: attention and MLP of all blocks."""
    return anima.kind_of(name) in ("self_attn", "cross_attn", "mlp")


def as_rdbt(name: str) -> bool:
    """What RDBT changes, by its card: without blocks 0 to 2 and the adaln layers."""
    return usual(name) and (anima.block_of(name) or 0) >= 3


def weights(seed: int) -> Values:
    """A model's weights in bfloat16, as float32."""
    return {name: bf16(_weights(seed, name, shape)) for name, shape in matrices().items()}


def lora(seed: int, size: float, rank: int, wanted: Wanted = usual) -> Values:
    """The change of a LoRA, `size` times as large as the weights it is added to."""
    chosen = {name: shape for name, shape in matrices().items() if wanted(name)}
    return {name: _lora(seed, name, shape, size, rank) for name, shape in chosen.items()}


def dense(seed: int, size: float, wanted: Wanted = lambda name: True) -> Values:
    """A change of every weight, `size` times as large as the weights."""
    return {
        name: _draw("dense", seed, name).standard_normal(positions(name, shape).count)
        * (size * _deviation(shape))
        for name, shape in matrices().items()
        if wanted(name)
    }


def summed(
    base: Values, *changes: tuple[float, Values], rounding: Rounding | None = None
) -> Values:
    """`base` and the changes, each times its strength, rounded once (bfloat16 if nothing is said)."""
    finish = rounding or bf16
    return {
        name: finish(
            found + sum((s * change[name] for s, change in changes if name in change), np.zeros(1))
        )
        for name, found in base.items()
    }


def sketch(values: Values, dtype: str = "BF16") -> Sketch:
    """The values as a sketch of what is stored as `dtype`."""
    return Sketch({n: v.astype(np.float32) for n, v in values.items() if v.any()}, dtype, BLOCKS)


def bf16(values: np.ndarray) -> np.ndarray:
    """Rounded to bfloat16."""
    return _through(values, torch.bfloat16)


def fp16(values: np.ndarray) -> np.ndarray:
    """Rounded to float16."""
    return _through(values, torch.float16)


def fp8(values: np.ndarray) -> np.ndarray:
    """Rounded to float8_e4m3fn without a scale, as ComfyUI casts."""
    return _through(values, torch.float8_e4m3fn)


def scaled_fp8(values: np.ndarray) -> np.ndarray:
    """Rounded to float8_e4m3fn with one scale for the weight, which fills the format's range."""
    scale = max(float(np.abs(values).max()) * 1.5, 1e-12) / 448
    return _through(values / scale, torch.float8_e4m3fn) * scale


def int8(values: np.ndarray) -> np.ndarray:
    """Rounded to 8-bit integers with one scale for each run's row."""
    runs = values.reshape(-1, 32) if values.size % 32 == 0 else values.reshape(1, -1)
    # The largest of a row's thousands is further out than that of the 32 in sight.
    scale = np.sqrt((runs**2).mean(axis=1, keepdims=True)) * 5 / 127
    found: np.ndarray = (np.round(runs / np.maximum(scale, 1e-12)) * scale).reshape(-1)
    return found


def _through(values: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    found: np.ndarray = torch.from_numpy(values.astype(np.float32)).to(dtype).float().numpy()
    return found.astype(np.float64)


def _draw(*what: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def _deviation(shape: tuple[int, int]) -> float:
    return float(np.exp(_ROWS**2 + _COLUMNS**2) / np.sqrt(shape[1]))


def _weights(seed: int, name: str, shape: tuple[int, int]) -> np.ndarray:
    draw, places = _draw("weights", seed, name), positions(name, shape)
    rows = np.exp(_ROWS * draw.standard_normal(shape[0]))[list(places.rows)]
    columns = np.exp(_COLUMNS * draw.standard_normal(shape[1]))
    spread = rows[:, None] * np.stack([columns[c : c + places.length] for c in places.columns])
    drawn = draw.standard_normal((len(places.rows), places.length), dtype=np.float32)
    found: np.ndarray = (drawn * spread / np.sqrt(shape[1])).reshape(-1)
    return found


def _lora(seed: int, name: str, shape: tuple[int, int], size: float, rank: int) -> np.ndarray:
    draw, places = _draw("lora", seed, name), positions(name, shape)
    fall = np.exp(-np.arange(rank) / _DECAY)
    up = draw.standard_normal((len(places.rows), rank)) * fall
    down = _columns(draw, places, rank)
    scale = size * _deviation(shape) / np.sqrt((fall**2).sum())
    scale *= np.exp(_UNEVEN * draw.standard_normal() - _UNEVEN**2)
    found: np.ndarray = (np.einsum("nr,nrl->nl", up, down) * scale).reshape(-1)
    return found


def _columns(draw: np.random.Generator, places: Positions, rank: int) -> np.ndarray:
    """The columns of down that the runs meet, (runs, rank, length); the same ones where runs share them."""
    firsts, where = np.unique(places.columns, return_inverse=True)
    drawn: np.ndarray = draw.standard_normal((len(firsts), rank, places.length))
    return drawn[where]
