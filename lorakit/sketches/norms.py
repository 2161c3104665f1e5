"""Frobenius norms: of every matrix of a checkpoint, and of what an adapter changes at strength 1.

Of a product of thin factors, ‖B A‖² = Σ (BᵀB) ∘ (A Aᵀ), and of a Kronecker product it is the product of both
sides' norms, so neither is ever formed. Sums are in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite, sqrt
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lokr import LokrModule, factor
from lorakit.adapters.needing_weight import needs_weight
from lorakit.errors import BadFile
from lorakit.formats.shards import read_shards
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.weights import find_matrices
from lorakit.sketches.whole import weights_in

_FLOAT = torch.zeros((), dtype=torch.float32)
_DOUBLE = torch.zeros((), dtype=torch.float64)


def base_norms(
    path: str | Path, on_progress: Callable[[int, int, str], None] = lambda done, total, what: None
) -> dict[str, float]:
    """‖W‖ of every matrix of the checkpoint at `path`, by canonical module name.

    `path` is a file, one of its shards, their index, or a folder. Every weight is read once. Matrices
    whose numbers are not understood, or not finite, are left out. Raises `BadFile` for what is no Anima
    checkpoint.
    """
    path = Path(path)
    names = [name for name, matrix in find_matrices(read_shards(path)).items() if matrix]
    weight_of = weights_in(path)
    found: dict[str, float] = {}
    for number, name in enumerate(names):
        on_progress(number, len(names), name)
        try:
            norm = frobenius(weight_of(name))
        except LookupError:
            continue
        if isfinite(norm):
            found[name] = norm
    return found


def delta_norms(adapter: Adapter, weight_of: WeightOf | None = None) -> dict[str, float]:
    """‖delta‖ at strength 1 of every module of an adapter, by its own module names.

    Modules whose change depends on the weight (DoRA, OFT, IA3, GLoRA, T-LoRA, replacements) are worked out
    against the weight that `weight_of` gives; without it, or where it does not fit, they are left out, as
    is what is not finite.
    """
    found: dict[str, float] = {}
    with torch.no_grad():
        for name, module in adapter.modules.items():
            norm = _norm(module)
            if norm is None and weight_of is not None:
                norm = _against(module, name, weight_of)
            if norm is not None and isfinite(norm):
                found[name] = norm
    return found


def joined(norms: Iterable[float]) -> float:
    """The norm of several parts together: the root of the sum of squares."""
    return sqrt(sum(norm * norm for norm in norms))


def relative(delta: Mapping[str, float], base: Mapping[str, float]) -> float | None:
    """‖delta‖ / ‖W‖ over all of `base`; None where the base is nothing."""
    whole = joined(base.values())
    return joined(norm for name, norm in delta.items() if name in base) / whole if whole else None


def frobenius(matrix: torch.Tensor) -> float:
    """The norm of a matrix, in float64 over its rows, which are summed in their own dtype."""
    rows = torch.linalg.vector_norm(matrix.flatten(1) if matrix.ndim > 1 else matrix[None], dim=1)
    return float(torch.linalg.vector_norm(rows.double()))


def _norm(module: AdapterModule) -> float | None:
    """None where the change depends on the weight, or only the whole matrix tells."""
    thin = module.low_rank()
    if thin is not None:
        up, down = thin.up.float(), thin.down.float()
        grams = (up.T @ up).double(), (down @ down.T).double()
        return sqrt(max(float((grams[0] * grams[1]).sum()), 0.0)) * abs(thin.scale)
    if isinstance(module, LokrModule):
        sides = (frobenius(factor(module.parts, side, _DOUBLE)) for side in "12")
        return next(sides) * next(sides) * abs(module.parts.scale)
    if isinstance(module, DiffModule):
        return frobenius(module.diff.float())
    return None if needs_weight(module) else frobenius(module.delta(_FLOAT))


def _against(module: AdapterModule, name: str, weight_of: WeightOf) -> float | None:
    try:
        return frobenius(module.delta(weight_of(name).float()))
    except (LookupError, RuntimeError, ValueError, BadFile):
        return None
