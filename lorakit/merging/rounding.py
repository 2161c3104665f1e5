"""Tensors in another dtype, and what that does to the change they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite, sqrt
from typing import Literal

import torch

from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import factor
from lorakit.adapters.lora import build_lora
from lorakit.adapters.parts import Parts
from lorakit.adapters.pieces import Piece, Pieces
from lorakit.errors import BadFile, LorakitError
from lorakit.merging.side_by_side import side_by_side

DtypeName = Literal["bf16", "fp16", "fp32"]
DTYPES: Mapping[str, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
# Numbers about a weight rather than of a change: a rounding of 0.4 % in the norm of a DoRA is as much as
# the whole adapter. They are small, and stay as they are.
_KEPT = frozenset({"alpha", "dora_scale", "rescale", "inv_scale", "on_input", "tlora_lambda"})


@dataclass(frozen=True)
class Rounding:
    """What rounding did: ‖rounded - exact‖_F / ‖exact‖_F over all modules whose change is measured.

    `unmeasured` counts the modules whose change cannot be told without the base.
    """

    error: float
    unmeasured: int


def in_dtype(pieces: Pieces, dtype: torch.dtype | None) -> Pieces:
    """`pieces` with factors and differences in `dtype`; None leaves them as they are.

    Raises `LorakitError` where a number is too large for it.
    """
    if dtype is None:
        return pieces
    jobs = (partial(_in_dtype, name, piece, dtype) for name, piece in pieces.modules.items())
    return replace(pieces, modules=dict(zip(pieces.modules, side_by_side(jobs), strict=True)))


def _in_dtype(name: str, piece: Piece, dtype: torch.dtype) -> Piece:
    parts = {
        part: tensor if part in _KEPT or not tensor.is_floating_point() else tensor.to(dtype)
        for part, tensor in piece.parts.items()
    }
    for part, tensor in parts.items():
        if dtype is torch.float16 and _overflows(piece.parts[part], tensor):
            raise LorakitError(
                f"{part} of {name} holds numbers that are too large for {dtype}.",
                hint="--dtype bf16 has the range of float32.",
            )
    return replace(piece, parts=parts)


def _overflows(exact: torch.Tensor, rounded: torch.Tensor) -> bool:
    if bool(torch.isfinite(rounded).all()):
        return False
    # PyTorch cannot tell of 8-bit floats whether they are finite.
    lost = torch.isfinite(exact.float()) & ~torch.isfinite(rounded)
    return bool(lost.any())


def rounding(exact: Pieces, rounded: Pieces) -> Rounding:
    """Compare the changes that two forms of the same pieces stand for.

    Raises `BadFile` for a change that is not finite, of which nothing can be told.
    """
    energy = error = 0.0
    unmeasured = 0
    pairs = {name: (piece, rounded.modules[name]) for name, piece in exact.modules.items()}
    changed = {name: pair for name, pair in pairs.items() if not _same(*pair)}
    measured = side_by_side(partial(_error, *pair) for pair in changed.values())
    for name, found in zip(changed, measured, strict=True):
        if found is None:
            unmeasured += 1
        elif not isfinite(sum(found)):
            raise BadFile(
                f"{exact.report.path} holds values in {name} that are not finite, or too large to compute "
                "with.",
                hint="Its training has failed, or the file is damaged; leave it out.",
            )
        else:
            energy, error = energy + found[0], error + found[1]
    return Rounding(sqrt(error / energy) if energy else 0.0, unmeasured)


def _same(one: Piece, other: Piece) -> bool:
    return all(tensor is other.parts[part] for part, tensor in one.parts.items())


def _error(exact: Piece, rounded: Piece) -> tuple[float, float] | None:
    """‖exact‖² and ‖rounded - exact‖² of one module's change."""
    one, other = exact.parts, rounded.parts
    energy = error = 0.0
    for part in ("diff", "diff_b", "w_norm", "b_norm", "set_weight"):
        if part in one:
            energy += _squares(one[part])
            error += _squares(other[part].double() - one[part].double())
    if {"down", "up"} <= one.keys() and "dora_scale" not in one:
        found = _of_factors(*zip(_sides(one), _sides(other), strict=True))
        energy += exact.scale**2 * found[0]
        error += exact.scale**2 * found[1]
    elif exact.algo in ("loha", "lokr") and "dora_scale" not in one:
        measure = _of_kronecker if exact.algo == "lokr" else _of_hadamard
        found = measure(Parts(one, None, exact.scale), Parts(other, None, exact.scale))
        energy, error = energy + found[0], error + found[1]
    elif exact.algo not in ("full", "norm", "set"):
        return None
    return energy, error


def _sides(parts: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """U (out, rank) and Dᵀ (in, rank), of 1x1 convolutions too; a Tucker core or a scale by channel within."""
    found = build_lora(Parts(parts, None, 1.0))
    return found.up, found.down.T


def _of_factors(ups: Sequence[torch.Tensor], downs: Sequence[torch.Tensor]) -> tuple[float, float]:
    """‖U D‖² and ‖U' D' - U D‖², from U, U' (out, rank) and Dᵀ, D'ᵀ (in, rank).

    U' D' - U D = (U' - U) D' + U (D' - D), so that nothing cancels in float32. What is too large for float32
    is measured in float64.
    """
    found = _of_factors_in(torch.float32, ups, downs)
    return found if isfinite(sum(found)) else _of_factors_in(torch.float64, ups, downs)


def _of_factors_in(
    dtype: torch.dtype, ups: Sequence[torch.Tensor], downs: Sequence[torch.Tensor]
) -> tuple[float, float]:
    (u, u2), (d, d2) = (tuple(one.to(dtype) for one in side) for side in (ups, downs))
    du, dd = u2 - u, d2 - d
    whole = _inner(u, u, d, d)
    return whole, _inner(du, du, d2, d2) + 2 * _inner(du, u, d2, dd) + _inner(u, u, dd, dd)


def _of_kronecker(exact: Parts, rounded: Parts) -> tuple[float, float]:
    """The same of A ⊗ B and A' ⊗ B', whose difference is (A' - A) ⊗ B' + A ⊗ (B' - B)."""
    like = torch.zeros((), dtype=torch.float64)
    (a, b), (a2, b2) = ([factor(parts, side, like) for side in "12"] for parts in (exact, rounded))
    da, db = a2 - a, b2 - b
    cross = float((da * a).sum()) * float((b2 * db).sum())
    error = _squares(da) * _squares(b2) + 2 * cross + _squares(a) * _squares(db)
    return exact.scale**2 * _squares(a) * _squares(b), exact.scale**2 * error


def _of_hadamard(exact: Parts, rounded: Parts) -> tuple[float, float]:
    """The same of two LoHa, as matrices in float32, or in float64 where they are too large for it."""
    found = (0.0, 0.0)
    for dtype in (torch.float32, torch.float64):
        like = torch.zeros((), dtype=dtype)
        one, other = (LohaModule(parts).delta(like) for parts in (exact, rounded))
        found = _squares(one), _squares(other - one)
        if isfinite(sum(found)):
            break
    return found


def _inner(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> float:
    """⟨a cᵀ, b dᵀ⟩."""
    return float(((a.T @ b) * (c.T @ d)).sum(dtype=torch.float64))


def _squares(values: torch.Tensor) -> float:
    return float(values.double().square().sum())


def balanced(up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same product with components of like size in both factors, moved by powers of two, in float32: exactly.

    A strength of a thousandth in one factor would leave the range of a 16-bit float, and so may a factor on
    its way to the middle.
    """
    up, down = up.float(), down.float()
    ratio = down.norm(dim=1) / up.norm(dim=0)
    steps = (ratio.log2() / 2).round()
    shift = torch.where(torch.isfinite(steps), steps, 0).exp2()
    return up * shift, down / shift[:, None]
