"""OFT and BOFT: the rows (or columns) of a weight rotated in blocks (Qiu et al., arXiv:2306.07280;
Liu et al., arXiv:2311.06243)."""

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
        rotation = _cayley(self.parts["oft_blocks"].to(weight), self.parts.alpha, weight.shape[0])
        count, size, _ = rotation.shape
        rows = weight.reshape(count, size, -1)
        turned = torch.einsum("knm,kni->kmi", rotation, rows).reshape(weight.shape)
        return _rescaled(turned, self.parts) - weight


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
        rotations = _cayley(self.parts["oft_blocks"].to(weight), self.parts.alpha, weight.shape[0])
        size, width = rotations.shape[-1], weight.shape[1]
        rows = weight
        for stage, rotation in enumerate(rotations):
            stride = 2**stage * size // 2
            mixed = rows.reshape(-1, 2, stride, width).transpose(1, 2).reshape(-1, size, width)
            turned = rotation @ mixed
            rows = turned.reshape(-1, stride, 2, width).transpose(1, 2).reshape(weight.shape)
        return _rescaled(rows, self.parts) - weight


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
        rotation = _neumann(_skew(self.parts["oft_r"].to(weight)))
        size = rotation.shape[-1]
        columns = weight.reshape(weight.shape[0], -1, size)
        rotation = rotation.expand(columns.shape[1], size, size)
        return torch.einsum("okj,kij->oki", columns, rotation).reshape(weight.shape) - weight


def build_oft(parts: Parts) -> OftModule | BoftModule:
    """Three dimensions of `oft_blocks` mean OFT, four BOFT."""
    return OftModule(parts) if parts["oft_blocks"].ndim == 3 else BoftModule(parts)


def block_size(entries: int) -> int:
    """The b with b (b - 1) / 2 = `entries`."""
    return (1 + isqrt(1 + 8 * entries)) // 2


def _cayley(blocks: torch.Tensor, constraint: float | None, out: int) -> torch.Tensor:
    skew = blocks - blocks.transpose(-1, -2)
    limit = (constraint or 0.0) * out
    norm = torch.linalg.vector_norm(skew) + 1e-8
    if limit > 0 and norm > limit:
        skew = skew * (limit / norm)
    eye = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    # R = (I + Q)(I - Q)⁻¹; the two factors commute, so it is also the solution of (I - Q) R = I + Q.
    rotation: torch.Tensor = torch.linalg.solve(eye - skew, eye + skew)
    return rotation


def _skew(vector: torch.Tensor) -> torch.Tensor:
    size = block_size(vector.shape[1])
    rows, columns = torch.triu_indices(size, size, 1)
    matrix = vector.new_zeros(vector.shape[0], size, size)
    matrix[:, rows, columns] = vector
    return matrix - matrix.transpose(1, 2)


def _neumann(skew: torch.Tensor) -> torch.Tensor:
    """(I + Q)(I - Q)⁻¹ by the five terms that PEFT trains with: I + 2Q + 2Q² + 2Q³ + Q⁴."""
    eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
    square = skew @ skew
    return eye + 2 * skew + 2 * square + 2 * square @ skew + square @ square


def _rescaled(rows: torch.Tensor, parts: Parts) -> torch.Tensor:
    rescale = parts.get("rescale")
    return rows if rescale is None else rows * rescale.to(rows).reshape(-1, 1)
