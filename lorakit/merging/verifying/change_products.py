"""Inner products of what adapters change: of a file that is looked at, and of what it should hold.

Thin factors give them without forming a matrix; what has none is formed, one weight at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.errors import BadUsage
from lorakit.fusion.base import BaseTensors
from lorakit.merging.factors import Factors, exact_factors, join
from lorakit.merging.gathering import Leaf, Term, gather
from lorakit.merging.verifying.fitting import Products
from lorakit.strengths import Strength

Weighted = Sequence[tuple[Adapter, Strength]]
# A change as factors or in full, in its weight's shape; None for none.
Change = Factors | torch.Tensor | None


def adapter_products(
    found: Adapter, expected: Adapter | None, entries: Weighted, base: BaseTensors | None
) -> Iterator[Products]:
    """For every weight: D = `found` - `expected`, both at strength 1, and the changes of `entries` at theirs.

    Without `expected` that is the sum of the entries. Raises `BadUsage` where a change depends on a base and
    there is none.
    """
    ahead = [found] if expected is None else [found, expected]
    stack = [*((one, Strength()) for one in ahead), *entries]
    gathered = gather(stack, base.modules if base else None)
    for (name, leaf), terms in gathered.terms.items():
        weight = _weight(name, leaf, terms, base)
        shape = _shape(name, leaf, weight, gathered.shapes, terms)
        changes = [
            change_of([t for t in terms if t.entry == index], shape, weight)
            for index in range(len(stack))
        ]
        parts, own = changes[: len(ahead)], changes[len(ahead) :]
        # D as a sum of what is found and, turned round, what is expected.
        signs = [1.0, *([-1.0] * (len(changes) - 1 if expected is None else 1))]
        terms_of_d = [*parts, *own] if expected is None else parts
        gram = _gram([*terms_of_d, *own])
        count = len(terms_of_d)
        sign = torch.tensor(signs, dtype=torch.float64)
        error = float(sign @ gram[:count, :count] @ sign)
        yield Products(name, gram[count:, count:], gram[count:, :count] @ sign, max(error, 0.0))


def checkpoint_products(
    name: str,
    error: torch.Tensor | None,
    terms: Sequence[Term],
    count: int,
    shape: Sequence[int],
    weight: torch.Tensor | None,
) -> Products:
    """For one weight of a checkpoint, which differs by `error` from what is expected, None for not at all.

    `terms` are those of the `count` entries that change it; `weight` is the base's, for those that need it.
    """
    changes = [
        change_of([t for t in terms if t.entry == index], shape, weight) for index in range(count)
    ]
    gram = _gram([error, *changes])
    return Products(name, gram[1:, 1:], gram[1:, 0], float(gram[0, 0]))


def change_of(terms: Sequence[Term], shape: Sequence[int], weight: torch.Tensor | None) -> Change:
    """The weighted sum of `terms`: as factors in float64 where all have some, else in full, float32."""
    if not terms:
        return None
    thin = [exact_factors(t.module, t.strength, weight=weight, dtype=torch.float64) for t in terms]
    factors = [one for one in thin if one is not None]
    if len(factors) == len(terms) and len(shape) == 2:
        return join(factors)
    pristine = torch.zeros(*shape) if weight is None else weight.float()
    parts = [t.strength * t.module.delta(pristine).reshape(pristine.shape) for t in terms]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _gram(changes: Sequence[Change]) -> torch.Tensor:
    gram = torch.zeros(len(changes), len(changes), dtype=torch.float64)
    for i, one in enumerate(changes):
        for j, other in enumerate(changes[: i + 1]):
            gram[i, j] = gram[j, i] = inner(one, other)
    return gram


def inner(one: Change, other: Change) -> float:
    """⟨one, other⟩, summed in float64."""
    if one is None or other is None:
        return 0.0
    if isinstance(one, Factors):
        return _with_factors(one, other)
    if isinstance(other, Factors):
        return _with_factors(other, one)
    return float((one * other.reshape(one.shape)).sum(dtype=torch.float64))


def _with_factors(one: Factors, other: Factors | torch.Tensor) -> float:
    if isinstance(other, Factors):
        return float(((one.up.T @ other.up) * (one.down @ other.down.T)).sum())
    product = (one.up.to(other.dtype).T @ other) * one.down.to(other.dtype)
    return float(product.sum(dtype=torch.float64))


def _weight(
    name: str, leaf: Leaf, terms: Sequence[Term], base: BaseTensors | None
) -> torch.Tensor | None:
    if leaf == "bias" or not any(term.needs_base for term in terms):
        return None
    key = base.names.get(f"{name}.weight") if base else None
    if base is None or key is None:
        needy = next(term.name for term in terms if term.needs_base)
        raise BadUsage(
            f"What {needy} changes depends on the weights of a base.", hint="--base NAME names it."
        )
    return base.exact(key).float()


def _shape(
    name: str,
    leaf: Leaf,
    weight: torch.Tensor | None,
    shapes: Mapping[str, tuple[int, ...]],
    terms: Sequence[Term],
) -> tuple[int, ...]:
    """The shape of what changes: the weight's, or a bias's, which its difference tells."""
    if weight is not None:
        return tuple(weight.shape)
    if leaf == "weight":
        return shapes[name]
    diff = getattr(terms[0].module, "diff", None)
    return (shapes[name][0],) if diff is None else tuple(diff.shape)
