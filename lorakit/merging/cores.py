"""Singular values and best approximations of a product of thin factors, never forming the product.

Of `up @ down`, with up (out, R) and down (R, in): for square roots L Lᵀ = upᵀ up and N Nᵀ = down downᵀ
the core Lᵀ N (R, R) has the product's singular values, and with its SVD U S Vᵀ the singular vectors are
up (N V / S) and (Uᵀ Lᵀ / S) down. Both roots come from Gram matrices in float64 by Cholesky where the
factors' columns stand apart, and from QR where they do not; no inverse of a root is needed.

Accuracy: absolute errors of singular values stay below 1e-11 of the product of the factors' norms (some 1e-14
as a rule), where rounding the factors to float32 makes some 1e-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lorakit.merging.factors import Factors

# A column whose part beyond the span of those before it is smaller than this share of its length: the
# Gram matrix holds the square of it, of which too few of float64's 16 digits remain.
_APART = 1e-4

# Columns that are multiplied at once: narrower strips save work, wider ones run faster.
_STRIP = 64


@dataclass(frozen=True)
class Svd:
    """`u @ diag(s) @ v.T`: u (out, k), s (k,) the largest first, v (in, k); float64."""

    u: torch.Tensor
    s: torch.Tensor
    v: torch.Tensor


@dataclass(frozen=True)
class Core:
    """A product's singular values, and how its factors mix into its singular vectors.

    All in float64: `s` (k,) the largest first; `up @ left` (R, k) are the left singular vectors times √s,
    `right @ down`, right (k, R), the right ones times √s. Components of no size are left out.
    """

    up: torch.Tensor
    down: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    s: torch.Tensor

    @property
    def values(self) -> list[float]:
        """The singular values as numbers."""
        found: list[float] = self.s.tolist()
        return found


def core_of(up: torch.Tensor, down: torch.Tensor) -> Core:
    """The core of `up @ down`, up (out, R) and down (R, in), of any dtype; computed in float64."""
    up, down = up.double(), down.double()
    root_up, root_down = root_of(up), root_of(down.T)
    middle = root_up.T @ root_down
    u, s, vh = torch.linalg.svd(middle, full_matrices=False)
    kept = int((s > s[:1] * torch.finfo(s.dtype).eps).sum()) if s.numel() else 0
    s = s[:kept]
    balance = s.rsqrt()
    left = (root_down @ vh[:kept].T) * balance
    right = balance[:, None] * (u[:, :kept].T @ root_up.T)
    return Core(up, down, left, right, s)


def root_of(tall: torch.Tensor) -> torch.Tensor:
    """A float64 L (R, k) with L Lᵀ = tallᵀ tall, for tall (n, R)."""
    wide = tall.double()
    gram = wide.T @ wide
    root, failed = torch.linalg.cholesky_ex(gram)
    apart = root.diagonal() >= _APART * gram.diagonal().sqrt()
    if not int(failed) and bool(apart.all()):
        return torch.as_tensor(root)
    return torch.as_tensor(torch.linalg.qr(wide, mode="r").R.T)


def svd_of_product(up: torch.Tensor, down: torch.Tensor) -> Svd:
    """The SVD of `up @ down` with as many components as are not nothing, without forming it."""
    core = core_of(up, down)
    scale = core.s.rsqrt()
    u = (core.up @ core.left) * scale
    v = (core.right @ core.down).T * scale
    return Svd(u, core.s, v)


def truncate(found: Svd | Core, rank: int, dtype: torch.dtype = torch.float32) -> Factors:
    """The best approximation of rank `rank` at most, its size shared evenly by both factors (√s each).

    Even sizes keep both within a 16-bit float's range. A change of nothing has rank 1.
    """
    kept = min(rank, found.s.numel())
    if not kept:
        return _nothing(found, dtype)
    if isinstance(found, Svd):
        scale = found.s[:kept].sqrt()
        return Factors(
            (found.u[:, :kept] * scale).to(dtype),
            (found.v[:, :kept] * scale).T.contiguous().to(dtype),
        )
    up = found.up @ found.left[:, :kept]
    down = found.right[:kept] @ found.down
    return Factors(up.to(dtype), down.to(dtype))


def _nothing(found: Svd | Core, dtype: torch.dtype) -> Factors:
    out, inner = (
        (found.u.shape[0], found.v.shape[0])
        if isinstance(found, Svd)
        else (found.up.shape[0], found.down.shape[1])
    )
    zeros = found.s.new_zeros
    return Factors(zeros(out, 1, dtype=dtype), zeros(1, inner, dtype=dtype))


def singular_values(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """The singular values of `up @ down`, float64, the largest first."""
    found: torch.Tensor = torch.linalg.svdvals(root_of(up).T @ root_of(down.T))
    return found


def gram_of(factors: Sequence[Factors]) -> torch.Tensor:
    """The inner products of changes of one shape, (k, k) in float64: ⟨Δi, Δj⟩ = Σ (BiᵀBj) ∘ (Ai Ajᵀ).

    Multiplied in the factors' own dtype and summed in float64.
    """
    ups = gram_of_columns(torch.cat([part.up for part in factors], dim=1))
    both = ups.mul_(gram_of_columns(torch.cat([part.down for part in factors]).T)).double()
    ranks = torch.tensor([part.rank for part in factors])
    owner = torch.arange(len(factors)).repeat_interleave(ranks).to(both.device)
    by_row = both.new_zeros(len(factors), len(owner)).index_add_(0, owner, both)
    return both.new_zeros(len(factors), len(factors)).index_add_(1, owner, by_row).cpu()


def gram_of_columns(tall: torch.Tensor) -> torch.Tensor:
    """tallᵀ tall of (n, R); its lower half is mirrored from the upper one, which is all that is multiplied."""
    size = tall.shape[1]
    gram = tall.new_empty(size, size)
    for start in range(0, size, _STRIP):
        end = min(start + _STRIP, size)
        strip = tall[:, start:end].T @ tall[:, start:]
        gram[start:end, start:] = strip
        gram[end:, start:end] = strip[:, end - start :].T
    return gram
