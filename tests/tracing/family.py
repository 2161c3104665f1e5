"""A small family of models with real names: an ancestor, what was made of it, and RDBT's likeness.

28 blocks, as the published model has, so that there are as many modules to sample; 128 wide. The sizes of
rows and columns spread as in trained models, and changes have the sizes that are reported: a percent or two
of the weights.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from math import exp, sqrt

import torch

from lorakit.formats import anima

WIDTH, TEXT, MLP, ADALN, BLOCKS = 128, 64, 512, 16, 28

Weights = dict[str, torch.Tensor]
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
Wanted = Callable[[str], bool]

# How unevenly rows and columns are sized, and how much more some modules are changed than others.
_ROWS, _COLUMNS, _UNEVEN = 0.3, 0.2, 0.5
_DECAY = 8.0


@cache
def shapes() -> Mapping[str, tuple[int, int]]:
    """(out, in) of every matrix by canonical name."""
    found: dict[str, tuple[int, int]] = {}
    for block in range(BLOCKS):
        found |= {f"blocks.{block}.{name}": shape for name, shape in _block().items()}
    found |= {
        "x_embedder.proj.1": (WIDTH, 68),
        "t_embedder.1.linear_1": (WIDTH, WIDTH),
        "t_embedder.1.linear_2": (3 * WIDTH, WIDTH),
        "final_layer.linear": (64, WIDTH),
        "final_layer.adaln_modulation.1": (ADALN, WIDTH),
        "final_layer.adaln_modulation.2": (2 * WIDTH, ADALN),
        "llm_adapter.embed": (200, TEXT),
        "llm_adapter.out_proj": (TEXT, TEXT),
    }
    for block, attention, part in product(range(2), ("self_attn", "cross_attn"), "qkvo"):
        found[f"llm_adapter.blocks.{block}.{attention}.{part}_proj"] = (TEXT, TEXT)
    for block in range(2):
        found[f"llm_adapter.blocks.{block}.mlp.0"] = (4 * TEXT, TEXT)
        found[f"llm_adapter.blocks.{block}.mlp.2"] = (TEXT, 4 * TEXT)
    return found


def _block() -> dict[str, tuple[int, int]]:
    found = dict.fromkeys(anima.BLOCK_LINEARS["self_attn"], (WIDTH, WIDTH))
    for name in anima.BLOCK_LINEARS["cross_attn"]:
        found[name] = (WIDTH, TEXT if name.endswith(("k_proj", "v_proj")) else WIDTH)
    found |= {"mlp.layer1": (MLP, WIDTH), "mlp.layer2": (WIDTH, MLP)}
    for name in anima.BLOCK_LINEARS["adaln"]:
        found[name] = (ADALN, WIDTH) if name.endswith(".1") else (3 * WIDTH, ADALN)
    return found


def usual(name: str) -> bool:
    """What style LoRAs change: attention and MLP of all blocks."""
    return anima.kind_of(name) in ("self_attn", "cross_attn", "mlp")


def as_rdbt(name: str) -> bool:
    """What RDBT changes by its card: nothing in blocks 0 to 2, and no adaln."""
    return usual(name) and (anima.block_of(name) or 0) >= 3


def weights(seed: int) -> Weights:
    """A trained model, so to speak, in numbers of bfloat16."""
    return rounded({name: _matrix(seed, name, shape) for name, shape in shapes().items()})


def low_rank(seed: int, size: float, rank: int, wanted: Wanted = usual) -> Factors:
    """Up (out, rank) and down (rank, in) of a change `size` times as large as the weights."""
    return {name: _pair(seed, name, shape, size, rank) for name, shape in _of(wanted)}


def dense(seed: int, size: float, wanted: Wanted = lambda name: True) -> Weights:
    """A change of every weight, `size` times as large as the weights."""
    return {
        name: torch.randn(shape, generator=_draw("dense", seed, name)) * (size * _deviation(shape))
        for name, shape in _of(wanted)
    }


def product_of(factors: Factors) -> Weights:
    """The matrices that factors come to."""
    return {name: up @ down for name, (up, down) in factors.items()}


def summed(base: Weights, *changes: tuple[float, Weights]) -> Weights:
    """`base` and the changes, each times its strength, in float32."""
    found = dict(base)
    for strength, change in changes:
        for name, matrix in change.items():
            found[name] = found[name] + strength * matrix
    return found


def difference(one: Weights, other: Weights) -> Weights:
    """What separates two models."""
    return {name: one[name] - other[name] for name in other}


def rounded(values: Weights, dtype: torch.dtype = torch.bfloat16) -> Weights:
    """What storing as `dtype` leaves, in float32."""
    return {name: matrix.to(dtype).float() for name, matrix in values.items()}


def _of(wanted: Wanted) -> list[tuple[str, tuple[int, int]]]:
    return [(name, shape) for name, shape in shapes().items() if wanted(name)]


def _draw(*what: object) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(repr(what).encode()))


def _deviation(shape: tuple[int, int]) -> float:
    return exp(_ROWS**2 + _COLUMNS**2) / sqrt(shape[1])


def _matrix(seed: int, name: str, shape: tuple[int, int]) -> torch.Tensor:
    draw = _draw("weights", seed, name)
    rows = torch.exp(_ROWS * torch.randn(shape[0], 1, generator=draw))
    columns = torch.exp(_COLUMNS * torch.randn(1, shape[1], generator=draw))
    return torch.randn(shape, generator=draw) * rows * columns / sqrt(shape[1])


def _pair(
    seed: int, name: str, shape: tuple[int, int], size: float, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = _draw("lora", seed, name)
    fall = torch.exp(-torch.arange(rank) / _DECAY)
    up = torch.randn(shape[0], rank, generator=draw) * fall
    down = torch.randn(rank, shape[1], generator=draw)
    scale = size * _deviation(shape) / float(fall.square().sum().sqrt())
    uneven = torch.exp(_UNEVEN * torch.randn(1, generator=draw) - _UNEVEN**2)
    return up * scale * uneven, down
