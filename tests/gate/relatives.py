"""An ancestor, what was made of it, RDBT's likeness, and what people do to models: for tables of files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, lru_cache

import torch

from lorakit.formats import anima
from lorakit.formats.layouts import WritableLayout
from tests.tracing import family as f
from tests.tracing.files import Form

BF16 = Form()


@dataclass(frozen=True)
class Checkpoint:
    """A base to be written under the name `stem`; its weights are made when it is."""

    name: str
    make: Callable[[], f.Weights]
    form: Form = BF16
    stem: str = "suspect"


@dataclass(frozen=True)
class Adapter:
    """An adapter to be written."""

    name: str
    make: Callable[[], f.Factors]
    layout: WritableLayout = "kohya"


@cache
def ancestor() -> f.Weights:
    return f.weights(1)


@cache
def yume() -> f.Weights:
    """A fine-tune of the ancestor: every weight by 1 %, and a LoRA of rank 64."""
    tuned = f.product_of(f.low_rank(3, 0.01, 64))
    return f.rounded(f.summed(ancestor(), (1, f.dense(2, 0.01)), (1, tuned)))


@cache
def edition() -> f.Factors:
    """RDBT as a LoRA: 1.5 % of the weights, rank 24, nothing in blocks 0 to 2 and in adaln."""
    return f.low_rank(4, 0.015, 24, f.as_rdbt)


@cache
def change() -> f.Weights:
    return f.product_of(edition())


@cache
def rdbt() -> f.Weights:
    return f.rounded(with_rdbt(1.0))


def style_factors(seed: int, size: float = 0.02, rank: int = 16) -> f.Factors:
    return f.low_rank(100 + seed, size, rank)


@lru_cache(maxsize=4)
def style(seed: int, size: float = 0.02, rank: int = 16) -> f.Weights:
    return f.product_of(style_factors(seed, size, rank))


def with_rdbt(strength: float, *more: tuple[float, f.Weights]) -> f.Weights:
    """The ancestor with so much of RDBT's change, and other changes."""
    return f.summed(ancestor(), (strength, change()), *more)


def without(*changes: tuple[float, f.Weights]) -> f.Weights:
    """The ancestor with other changes."""
    return f.summed(ancestor(), *changes)


def mean(*, of_rdbt: float = 0.0, of_yume: float = 0.0) -> f.Weights:
    """The weighted mean of whole models; what is missing to 1 is the ancestor's."""
    parts = ((of_rdbt, rdbt()), (of_yume, yume()))
    return without(*((share, f.difference(model, ancestor())) for share, model in parts))


def tuned(weights: f.Weights, seed: int, size: float) -> f.Weights:
    """Trained further, after it was stored as bfloat16."""
    return f.summed(f.rounded(weights), (1, f.dense(seed, size)))


def in_blocks(blocks: Collection[int], strength: float) -> f.Weights:
    """The ancestor with RDBT's change in some blocks."""
    part = {name: x for name, x in change().items() if anima.block_of(name) in blocks}
    return without((strength, part))


def without_text_adapter(weights: f.Weights) -> f.Weights:
    return {name: x for name, x in weights.items() if not name.startswith("llm_adapter.")}


def rescaled(weights: f.Weights) -> f.Weights:
    """Every module times a number from a half to two."""
    draw = torch.Generator().manual_seed(11)
    sizes = torch.exp2(torch.empty(len(weights)).uniform_(-1, 1, generator=draw)).tolist()
    return {name: x * size for (name, x), size in zip(weights.items(), sizes, strict=True)}


def rows_rescaled(weights: f.Weights, size: float = 0.03) -> f.Weights:
    """Every row times a number near one, as the magnitudes of a DoRA do."""
    draw = torch.Generator().manual_seed(12)
    return {
        name: x * torch.exp(size * torch.randn(len(x), 1, generator=draw))
        for name, x in weights.items()
    }


def resized(matrices: f.Weights, rank: int) -> f.Factors:
    """The nearest factors of a rank, of the layers that adapters have."""
    found: f.Factors = {}
    for name, matrix in matrices.items():
        if f.usual(name):
            u, s, v = torch.svd_lowrank(matrix, q=rank + 8, niter=2)
            found[name] = u[:, :rank] * s[:rank], v[:, :rank].T
    return found


def extracted(weights: f.Weights, start: f.Weights | None = None) -> f.Factors:
    """An adapter of rank 32 that turns the ancestor into a merge."""
    stored = f.rounded(weights)
    return resized(f.difference(stored, start or ancestor()), 32)


def scaled(factors: f.Factors, strength: float) -> f.Factors:
    return {name: (up * strength, down) for name, (up, down) in factors.items()}


def joined(*parts: tuple[float, f.Factors]) -> f.Factors:
    """Adapters as one, their ranks side by side."""
    found: f.Factors = {}
    for name in dict.fromkeys(name for _, factors in parts for name in factors):
        there = [(s, *factors[name]) for s, factors in parts if name in factors]
        ups, downs = [s * up for s, up, _ in there], [down for _, _, down in there]
        found[name] = torch.cat(ups, dim=1), torch.cat(downs)
    return found


def only(factors: f.Factors, blocks: Collection[int]) -> f.Factors:
    return {name: pair for name, pair in factors.items() if anima.block_of(name) in blocks}
