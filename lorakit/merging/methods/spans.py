"""Orthonormal bases of what thin factors span."""

from __future__ import annotations

import torch

_ACTIVE = 1e-7
# Vectors from a Gram matrix are orthonormal to 1e-16 times the square of the ratio of the sizes.
_SAFE = 1e-3


def span_of(tall: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis (n, k) of the columns of `tall` (n, R): its left singular vectors, float64.

    The largest comes first; directions below 1e-7 of it are left out.
    """
    wide = tall.double()
    values, turn = torch.linalg.eigh(wide.T @ wide)
    if float(values[0]) > (_SAFE**2) * float(values[-1]):
        return torch.as_tensor((wide @ (turn * values.rsqrt())).flip(1))
    q, r = torch.linalg.qr(wide)
    u, s, _ = torch.linalg.svd(r, full_matrices=False)
    return torch.as_tensor(q @ u[:, s > _ACTIVE * s[:1]])
