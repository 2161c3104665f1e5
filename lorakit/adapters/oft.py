"""OFT and BOFT: the rows (or columns) of a weight rotated in blocks (Qiu et al., arXiv:2306.07280;
Liu et al., arXiv:2311.06243).

Rotations are carried as R - I and the change as (R - I) W. The difference R W - W of two weights that
are nearly alike would lose in float32 what a small rotation is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import torch

from lorakit.adapters.adapter import DoraFormula
from lorakit.adapters.parts import Parts


@dataclass(frozen=True)
class OftModule:
    """LyCORIS' OFT: R = (I + Q)(I - Q)⁻¹ of each block's Q = B - Bᵀ turns a block of rows.

    oft_blocks: (n, b, b) with n b = out; `rescale` (out, 1) multiplies the turned rows; alpha is the
    constraint: ||Q|| over all blocks is kept within alpha * out.
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: a rotation is of full rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """W' - W at strength 1; other strengths interpolate the result."""
        turn = _cayley(self.parts["oft_blocks"].to(weight), self.parts.alpha, weight.shape[0])
        count, size, _ = turn.shape
        rows = weight.reshape(count, size, -1)
        change = torch.einsum("knm,kni->kmi", turn, rows).reshape(weight.shape)
        return _rescaled(change, weight, self.parts)


@dataclass(frozen=True)
class BoftModule:
    """BOFT: m stages of blocks in butterfly order, stage i mixing rows 2ⁱ b / 2 apart.

    oft_blocks: (m, n, b, b) with n b = out; `rescale` and alpha as in OFT.
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: a rotation is of full rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """W' - W at strength 1; other strengths interpolate the result."""
        turns = _cayley(self.parts["oft_blocks"].to(weight), self.parts.alpha, weight.shape[0])
        size, width = turns.shape[-1], weight.shape[1]
        change = torch.zeros_like(weight)
        for stage, turn in enumerate(turns):
            stride = 2**stage * size // 2
            rows = (weight + change).reshape(-1, 2, stride, width).transpose(1, 2)
            turned = turn @ rows.reshape(-1, size, width)
            added = turned.reshape(-1, stride, 2, width).transpose(1, 2)
            change = change + added.reshape(weight.shape)
        return _rescaled(change, weight, self.parts)


@dataclass(frozen=True)
class OftV2Module:
    """PEFT's OFT (OFTv2, arXiv:2506.19847): input columns turned, R by a Neumann series of Q.

    oft_r: (n, b (b - 1) / 2), the upper triangle of each skew-symmetric Q; n b = in, or n = 1 with the
    block shared along the input.
    """

    parts: Parts

    def low_rank(self) -> None:
        """None: a rotation is of full rank."""

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """W' - W at strength 1; other strengths interpolate the result."""
        turn = _neumann(_skew(self.parts["oft_r"].to(weight)))
        size = turn.shape[-1]
        columns = weight.reshape(weight.shape[0], -1, size)
        turn = turn.expand(columns.shape[1], size, size)
        return torch.einsum("okj,kij->oki", columns, turn).reshape(weight.shape)


def build_oft(parts: Parts) -> OftModule | BoftModule:
    """Three dimensions of `oft_blocks` mean OFT, four BOFT."""
    return OftModule(parts) if parts["oft_blocks"].ndim == 3 else BoftModule(parts)


def block_size(entries: int) -> int:
    """The b with b (b - 1) / 2 = `entries`."""
    return (1 + isqrt(1 + 8 * entries)) // 2


def _cayley(blocks: torch.Tensor, constraint: float | None, out: int) -> torch.Tensor:
    """R - I with R = (I + Q)(I - Q)⁻¹, which is 2 (I - Q)⁻¹ Q, of each block."""
    skew = blocks - blocks.transpose(-1, -2)
    limit = (constraint or 0.0) * out
    norm = torch.linalg.vector_norm(skew) + 1e-8
    if limit > 0 and norm > limit:
        skew = skew * (limit / norm)
    eye = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    turn: torch.Tensor = torch.linalg.solve(eye - skew, 2 * skew)
    return turn


def _skew(vector: torch.Tensor) -> torch.Tensor:
    size = block_size(vector.shape[1])
    rows, columns = torch.triu_indices(size, size, 1)
    matrix = vector.new_zeros(vector.shape[0], size, size)
    matrix[:, rows, columns] = vector
    return matrix - matrix.transpose(1, 2)


def _neumann(skew: torch.Tensor) -> torch.Tensor:
    """R - I with R = (I + Q)(I - Q)⁻¹ by the five terms that PEFT trains with: 2Q + 2Q² + 2Q³ + Q⁴."""
    square = skew @ skew
    return 2 * skew + 2 * square + 2 * square @ skew + square @ square


def _rescaled(change: torch.Tensor, weight: torch.Tensor, parts: Parts) -> torch.Tensor:
    """The change of rows that are multiplied by `rescale`, where there is one, after the turn."""
    rescale = parts.get("rescale")
    if rescale is None:
        return change
    factors = rescale.to(weight).reshape(-1, 1)
    return factors * change + (factors - 1) * weight
