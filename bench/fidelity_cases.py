"""What the fidelity page merges: cases of a few adapters on two modules of Anima's real shapes.

The exact sum of every case is computed here, in float64 and from the raw numbers, by the formulas that
trainers use; nothing of lorakit takes part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal, TypeAlias

import torch

Algo = Literal["lora", "dora", "lokr", "loha"]
Deltas: TypeAlias = Mapping[str, torch.Tensor]

MODULES: Mapping[str, tuple[int, int]] = {
    "blocks.0.cross_attn.k_proj": (2048, 1024),
    "blocks.0.adaln_modulation_mlp.1": (256, 2048),
}
SEED = 20261123
_WEIGHT_DEVIATION = 0.02
_RELATIVE_DELTA = 0.02
FACTOR = 8
"""The size of LoKr's small side."""


@dataclass(frozen=True)
class Source:
    """One adapter: what a trainer would keep, by module and part, and the strength it is merged at.

    Parts: `up` (out, rank) and `down` (rank, in); `magnitude` (out, 1) beside them for DoRA; `w1`, `w2_a`
    and `w2_b` for LoKr; `w1_a`, `w1_b`, `w2_a` and `w2_b` for LoHa.
    """

    algo: Algo
    rank: int
    alpha: float
    strength: float
    rslora: bool = False
    parts: Mapping[str, Mapping[str, torch.Tensor]] | None = None

    @property
    def scale(self) -> float:
        """alpha / rank; with rsLoRA alpha / sqrt(rank) (arXiv:2312.03732)."""
        return self.alpha / (sqrt(self.rank) if self.rslora else self.rank)

    def of(self, module: str) -> Mapping[str, torch.Tensor]:
        """The parts of one module."""
        assert self.parts is not None
        return self.parts[module]


@dataclass(frozen=True)
class Case:
    """A base, the adapters on it in the order in which they are merged, and their exact sum."""

    name: str
    about: str
    dtype: torch.dtype
    base: Deltas
    sources: Sequence[Source]

    def exact(self) -> Deltas:
        """What every adapter changes in the pristine base, times its strength, summed: float64."""
        return {
            module: torch.stack(
                [s.strength * change(s, module, weight.double()) for s in self.sources]
            ).sum(0)
            for module, weight in self.base.items()
        }


def change(source: Source, module: str, weight: torch.Tensor) -> torch.Tensor:
    """W' - W of one adapter at strength 1, in float64, `weight` being W."""
    parts = {name: tensor.double() for name, tensor in source.of(module).items()}
    if source.algo == "lokr":
        return source.scale * torch.kron(parts["w1"], parts["w2_a"] @ parts["w2_b"])
    if source.algo == "loha":
        one, other = parts["w1_a"] @ parts["w1_b"], parts["w2_a"] @ parts["w2_b"]
        return source.scale * one * other
    added = source.scale * parts["up"] @ parts["down"]
    if source.algo == "lora":
        return added
    moved = weight + added
    norms: torch.Tensor = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
    return parts["magnitude"] * moved / norms - weight


def _lora(rank: int, strength: float, alpha: float | None = None, *, rs: bool = False) -> Source:
    return Source("lora", rank, float(rank if alpha is None else alpha), strength, rs)


_PLAIN = (_lora(16, 0.7), _lora(16, 0.5))
_DORA = Source("dora", 16, 16.0, 1.0)
# Name, what it holds, and the adapters.
_CASES: tuple[tuple[str, str, tuple[Source, ...]], ...] = (
    ("plain", "two LoRAs of rank and alpha 16, at 0.7 and 0.5", _PLAIN),
    (
        "ranks",
        "three LoRAs of rank and alpha 8, 32 and 16, at 0.7, 0.5 and 0.3",
        (_lora(8, 0.7), _lora(32, 0.5), _lora(16, 0.3)),
    ),
    (
        "alpha",
        "two LoRAs of rank 16, alpha 4 and 32, at 0.7 and 0.5",
        (_lora(16, 0.7, 4), _lora(16, 0.5, 32)),
    ),
    (
        "rsLoRA",
        "two rsLoRAs of rank and alpha 16, at 0.7 and 0.5",
        (_lora(16, 0.7, rs=True), _lora(16, 0.5, rs=True)),
    ),
    ("DoRA", "a DoRA at 1, then a LoRA at 0.5, rank and alpha 16", (_DORA, _lora(16, 0.5))),
    ("DoRA last", "a LoRA at 0.5, then a DoRA at 1, rank and alpha 16", (_lora(16, 0.5), _DORA)),
    (
        "LoKr",
        "a LoKr of factor 8, rank 8 and alpha 4, at 0.7, and a LoRA of rank and alpha 16, at 0.5",
        (Source("lokr", 8, 4.0, 0.7), _lora(16, 0.5)),
    ),
    (
        "LoHa",
        "a LoHa of rank 4 and alpha 2, at 0.7, and a LoRA of rank and alpha 16, at 0.5",
        (Source("loha", 4, 2.0, 0.7), _lora(16, 0.5)),
    ),
    (
        "negative",
        "two LoRAs of rank and alpha 16, at 0.8 and -0.5",
        (_lora(16, 0.8), _lora(16, -0.5)),
    ),
    ("bf16", "as plain, with base and adapters in bfloat16", _PLAIN),
)
NAMES = tuple(name for name, _, _ in _CASES)
ABOUT: Mapping[str, str] = {name: about for name, about, _ in _CASES}


def make_case(name: str) -> Case:
    """The case of this name; the same numbers at every call."""
    number = NAMES.index(name)
    _, about, sources = _CASES[number]
    dtype = torch.bfloat16 if name == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(SEED + number)
    base = {
        module: _normal(shape, generator).mul_(_WEIGHT_DEVIATION).to(dtype)
        for module, shape in MODULES.items()
    }
    made = [_filled(source, base, generator, dtype) for source in sources]
    return Case(name, about, dtype, base, made)


def _filled(source: Source, base: Deltas, generator: torch.Generator, dtype: torch.dtype) -> Source:
    """The source with random parts, each module's change of the same size beside its weight."""
    parts = {}
    for module, weight in base.items():
        drawn = {
            part: _normal(shape, generator) for part, shape in _shapes(source, weight.shape).items()
        }
        plain = Source(
            "lora" if source.algo == "dora" else source.algo,
            source.rank,
            source.alpha,
            1.0,
            source.rslora,
            {module: drawn},
        )
        size = change(plain, module, weight).norm() / weight.double().norm()
        # The size that is wanted is shared by the parts, so that none is much larger than another.
        share = float(_RELATIVE_DELTA / size) ** (1 / len(drawn))
        kept = {part: (tensor * share).to(dtype) for part, tensor in drawn.items()}
        if source.algo == "dora":
            kept["magnitude"] = _magnitude(kept, source.scale, weight, generator)
        parts[module] = kept
    return Source(source.algo, source.rank, source.alpha, source.strength, source.rslora, parts)


def _magnitude(
    parts: Mapping[str, torch.Tensor],
    scale: float,
    weight: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Norms of the moved rows, each moved a little, as training leaves them."""
    moved = weight + scale * parts["up"] @ parts["down"]
    norms: torch.Tensor = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
    return norms * (1.0 + _RELATIVE_DELTA * _normal((len(weight), 1), generator))


def _shapes(source: Source, shape: Sequence[int]) -> dict[str, tuple[int, int]]:
    (out, inner), rank = shape, source.rank
    if source.algo == "lokr":
        sides = out // FACTOR, inner // FACTOR
        return {"w1": (FACTOR, FACTOR), "w2_a": (sides[0], rank), "w2_b": (rank, sides[1])}
    if source.algo == "loha":
        halves = {"a": (out, rank), "b": (rank, inner)}
        return {f"w{side}_{half}": size for side in "12" for half, size in halves.items()}
    return {"up": (out, rank), "down": (rank, inner)}


def _normal(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)
