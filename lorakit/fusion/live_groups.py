"""Which tensors of a base are fused together: one kind of module, one shape, one buffer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule, DoraFormula, LowRank
from lorakit.errors import NotFusable
from lorakit.fusion.base import BaseTensors
from lorakit.fusion.plan import FusionPlan

_NUMBER = re.compile(r"(?<=\b(?:blocks|layers)\.)\d+(?=\.)")

DeltaOf = Callable[[torch.Tensor], torch.Tensor]
Patches = dict[str, dict[int, LowRank | DeltaOf]]


@dataclass(frozen=True)
class Group:
    """Tensors of one kind and shape, and what every entry does to each.

    `tensors` are canonical names (`blocks.0.mlp.layer1.weight`) in the order of the base; a row is an
    index into it. `factors` and `dense` are keyed by (row, entry): thin factors, and changes that are no
    product of thin factors.
    """

    name: str
    tensors: tuple[str, ...]
    shape: tuple[int, ...]
    stored: torch.dtype
    factors: Mapping[tuple[int, int], LowRank]
    dense: Mapping[tuple[int, int], DeltaOf]

    @cached_property
    def slots(self) -> Mapping[int, slice]:
        """Entry -> its columns along the joined rank; as wide as its largest rank in this group."""
        widths: dict[int, int] = {}
        for (_, entry), pair in self.factors.items():
            widths[entry] = max(widths.get(entry, 0), pair.down.shape[0])
        entries = sorted(widths)
        ends = list(accumulate(widths[entry] for entry in entries))
        return {e: slice(end - widths[e], end) for e, end in zip(entries, ends, strict=True)}

    @cached_property
    def dense_rows(self) -> frozenset[int]:
        """The rows that some entry changes by more than a product of thin factors."""
        return frozenset(row for row, _ in self.dense)

    @property
    def live(self) -> torch.dtype:
        """The dtype of the live weights: as stored, but bfloat16 for 8-bit floats."""
        return torch.bfloat16 if self.stored.itemsize == 1 else self.stored

    @property
    def touches(self) -> Iterator[tuple[int, int]]:
        """Every (row, entry) where an entry changes a tensor."""
        yield from self.factors
        yield from (pair for pair in self.dense if pair not in self.factors)

    def rank(self, align: int) -> int:
        """Width of the joined rank, rounded up to a multiple of `align`."""
        widest = max((slot.stop for slot in self.slots.values()), default=0)
        return -(-widest // align) * align


def group_patches(
    base: BaseTensors, plan: FusionPlan, adapters: Sequence[Adapter], dora: DoraFormula
) -> tuple[Group, ...]:
    """Group every tensor that some adapter changes, in the order of the base.

    Raises `NotFusable` for an adapter that changes a bias which the base does not have.
    """
    patches = _collect(base, plan, adapters, dora)
    members: dict[tuple[str, tuple[int, ...], torch.dtype], list[str]] = {}
    for name, key in base.names.items():
        if name in patches:
            tensor = base[key]
            kind = (_NUMBER.sub("*", name), tuple(tensor.shape), tensor.dtype)
            members.setdefault(kind, []).append(name)
    return tuple(_group(*kind, names, patches) for kind, names in members.items())


def _group(
    name: str, shape: tuple[int, ...], stored: torch.dtype, names: list[str], patches: Patches
) -> Group:
    factors: dict[tuple[int, int], LowRank] = {}
    dense: dict[tuple[int, int], DeltaOf] = {}
    for row, tensor in enumerate(names):
        for entry, patch in patches[tensor].items():
            if isinstance(patch, LowRank):
                factors[row, entry] = patch
            else:
                dense[row, entry] = patch
    return Group(name, tuple(names), shape, stored, factors, dense)


def _collect(
    base: BaseTensors, plan: FusionPlan, adapters: Sequence[Adapter], dora: DoraFormula
) -> Patches:
    found: Patches = {}
    for entry, (planned, adapter) in enumerate(zip(plan.entries, adapters, strict=True)):
        for source, target in planned.targets.items():
            if source in adapter.modules:
                module = adapter.modules[source]
                patch = module.low_rank() or _delta_of(module, dora)
                found.setdefault(f"{target}.weight", {})[entry] = patch
        for source, module in adapter.biases.items():
            # A module that the base lacks has no target; the plan names it as unmatched.
            if source in planned.targets:
                name = f"{planned.targets[source]}.bias"
                if name not in base.names:
                    raise NotFusable(f"{adapter.path} changes {name}, and the base has none.")
                found.setdefault(name, {})[entry] = _delta_of(module, dora)
    return found


def _delta_of(module: AdapterModule, dora: DoraFormula) -> DeltaOf:
    return lambda weight: module.delta(weight, dora)
