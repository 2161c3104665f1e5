"""How far the directions that changes act in agree, as a multiple of chance.

Of each change the leading left and right singular vectors are taken that hold 99 % of its energy: U (out,
p) and V (in, p). The overlap of two is ‖U'ᵀ U‖² / min(p, p'), the mean squared cosine of the principal
angles between their spans (Björck and Golub, Math. Comp. 27, 1973): 1 where one lies in the other. Spans
drawn at random would have max(p, p') / out.

All of it follows from the Gram matrices of the factors. With upᵀ up = Q Λ Qᵀ and down downᵀ = P M Pᵀ the
core √Λ Qᵀ P √M = X Σ Yᵀ has the singular values, and U = up Q Λ^(-1/2) X.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch

from lorakit.merging.checking.thinning import SHARE

Pair = tuple[int, int]
# Grams in float32 hold directions down to a thousandth of the largest.
_NOTHING = 1e-6


@dataclass(frozen=True, eq=False)
class Joined:
    """The Gram matrices (R, R), float32, of thin factors laid side by side.

    `entries` and `ranks` say whose columns they are, `scales` what their products are multiplied by;
    `shape` is (out, in). `energies` are ‖Δ‖² of changes of which these factors hold the leading part, by
    place; the others are whole.
    """

    entries: tuple[int, ...]
    ranks: tuple[int, ...]
    scales: tuple[float, ...]
    shape: tuple[int, int]
    ups: torch.Tensor
    downs: torch.Tensor
    energies: Mapping[int, float] = field(default_factory=dict)

    def inner_products(self) -> torch.Tensor:
        """⟨Δi, Δj⟩ of the entries, (k, k) float64."""
        products = (self.ups * self.downs).double()
        columns = torch.zeros(len(products), len(self.ranks), dtype=torch.float64)
        for entry, (rows, scale) in enumerate(zip(self.spans, self.scales, strict=True)):
            columns[rows, entry] = scale
        found: torch.Tensor = columns.T @ products @ columns
        return found

    @property
    def spans(self) -> list[slice]:
        """Where each entry's columns are."""
        ends = list(accumulate(self.ranks))
        return [slice(end - rank, end) for end, rank in zip(ends, self.ranks, strict=True)]


@dataclass(frozen=True)
class Overlap:
    """Of one module, by pair of entries (i < j): overlap and chance of outputs (columns) and inputs (rows).

    `spread` is the variance that ⟨Δi, Δj⟩ would have if one of them were turned at random on one side and
    left as it is on the other: the larger of ‖Δj Δiᵀ‖² / out and ‖Δjᵀ Δi‖² / in. Adapters of one base see
    the same inputs, so strangers among them have larger cosines than dimension alone explains.
    """

    outputs: dict[Pair, tuple[float, float]]
    inputs: dict[Pair, tuple[float, float]]
    spread: dict[Pair, float]


def overlaps(joined: Mapping[str, Joined], count: int) -> dict[str, Overlap]:
    """The overlaps by module, of modules in which two entries or more have thin factors."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, one in joined.items():
        if len(one.entries) > 1:
            key = (one.entries, one.ranks, one.shape, tuple(one.energies))
            alike.setdefault(key, []).append(name)
    found: dict[str, Overlap] = {}
    for names in alike.values():
        found |= _of_alike(names, [joined[name] for name in names])
    return found


def _of_alike(names: Sequence[str], joined: Sequence[Joined]) -> dict[str, Overlap]:
    """Of modules with the same entries, ranks and shape, all at once."""
    first = joined[0]
    ups = torch.stack([one.ups for one in joined]).double()
    downs = torch.stack([one.downs for one in joined]).double()
    spans = first.spans
    bases = [
        _directions(_block(ups, at, at), _block(downs, at, at), _energies(joined, entry))
        for entry, at in enumerate(spans)
    ]
    found = [Overlap({}, {}, {}) for _ in names]
    for j in range(len(spans)):
        for i in range(j):
            pair = first.entries[i], first.entries[j]
            for side, grams in enumerate((ups, downs)):
                cross = _block(grams, spans[i], spans[j])
                values = _shared(bases[i], bases[j], cross, side)
                chances = bases[i].by_chance(bases[j], first.shape[side])
                for one, value, chance in zip(found, values, chances, strict=True):
                    (one.outputs, one.inputs)[side][pair] = (value, chance)
            scales = (first.scales[i] * first.scales[j]) ** 2
            spread = _spread(ups, downs, (spans[i], spans[j]), first.shape) * scales
            for one, value in zip(found, spread.tolist(), strict=True):
                one.spread[pair] = value
    return dict(zip(names, found, strict=True))


def _energies(joined: Sequence[Joined], place: int) -> torch.Tensor | None:
    """‖Δ‖² of one entry in each module, (M, 1); None where its factors are all of it."""
    if place not in joined[0].energies:
        return None
    return torch.tensor([[one.energies[place]] for one in joined], dtype=torch.float64)


def _shared(one: _Directions, other: _Directions, cross: torch.Tensor, side: int) -> list[float]:
    """The overlap of two entries on one side, (M,)."""
    energy = (one.mix[side].mT @ cross @ other.mix[side]).square().sum((1, 2))
    found: list[float] = (energy / torch.minimum(one.count, other.count).clamp_min(1)).tolist()
    return [min(value, 1.0) for value in found]


def _spread(
    ups: torch.Tensor, downs: torch.Tensor, pair: tuple[slice, slice], shape: tuple[int, int]
) -> torch.Tensor:
    """The larger of ‖Δj Δiᵀ‖² / out and ‖Δjᵀ Δi‖² / in, scales aside, (M,)."""
    i, j = pair
    found = []
    for kept, turned, size in ((downs, ups, shape[0]), (ups, downs, shape[1])):
        cross = _block(kept, j, i)
        products = (_block(turned, j, j) @ cross) * (cross @ _block(turned, i, i))
        found.append(products.sum((1, 2)) / size)
    return torch.maximum(*found).clamp_min(0)


@dataclass(frozen=True, eq=False)
class _Directions:
    """`mix[0]` (M, r, r) turns up's columns into the leading left singular vectors, zeros behind them;
    `mix[1]` does the same for downᵀ. `count` (M,) is how many there are."""

    mix: tuple[torch.Tensor, torch.Tensor]
    count: torch.Tensor

    def by_chance(self, other: _Directions, size: int) -> list[float]:
        """The overlap that spans drawn at random in `size` dimensions would have, (M,)."""
        found: list[float] = (torch.maximum(self.count, other.count) / size).tolist()
        return [min(value, 1.0) for value in found]


def _directions(
    ups: torch.Tensor, downs: torch.Tensor, energies: torch.Tensor | None
) -> _Directions:
    roots = [_roots(gram) for gram in (ups, downs)]
    core = roots[0][0].mT @ roots[1][0]
    left, values, right = torch.linalg.svd(core)
    squares = values.square()
    whole = squares.sum(1, keepdim=True) if energies is None else energies
    # A direction is taken while those before it hold less than the share.
    taken = (squares.cumsum(1) - squares < SHARE * whole) & (squares > 0)
    mixes = (roots[0][1] @ left, roots[1][1] @ right.mT)
    return _Directions(
        (mixes[0] * taken[:, None, :], mixes[1] * taken[:, None, :]), taken.sum(1).double()
    )


def _roots(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Q √Λ and Q Λ^(-1/2) of Grams Q Λ Qᵀ; directions of no size are zero in both."""
    values, vectors = torch.linalg.eigh(gram)
    there = values > _NOTHING * values[:, -1:]
    root = torch.where(there, values, 0.0).clamp_min(0.0).sqrt()
    inverse = torch.where(there, root, 1.0).reciprocal() * there
    return vectors * root[:, None, :], vectors * inverse[:, None, :]


def _block(grams: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    return grams[:, rows, columns]
