"""A merged checkpoint against its base with its stack fused in, one tensor at a time, none of it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

import torch

from lorakit.adapters.loading import load_adapter
from lorakit.bases import ChosenBase
from lorakit.errors import BadFile
from lorakit.formats.checkpoint import parse_checkpoint
from lorakit.formats.header import Header
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.gate.checkpoint import fused_tensors
from lorakit.gate.derived import Progress
from lorakit.merging.gathering import Leaf, Term, gather
from lorakit.merging.verifying.change_products import checkpoint_products
from lorakit.merging.verifying.deviations import Deviation, deviation, stored_tensor
from lorakit.merging.verifying.fitting import Products, fit
from lorakit.merging.verifying.ingredients import entries_text
from lorakit.merging.verifying.verification import Outcome, Verification, looks_of
from lorakit.stack import ResolvedEntry

# Another processor sums in another order. In 16 bits that shows in the few values that lie midway between
# two numbers; in float32 it may show in all of them, by so much of the whole.
_MOST_ROUNDED: Mapping[str, float] = MappingProxyType({"BF16": 0.01, "F16": 0.08, "F32": 1.0})
_MOST_NOISE = 2.0**-18


def is_checkpoint(header: Header) -> bool:
    """Whether a file holds a whole model."""
    try:
        parse_checkpoint(header)
    except BadFile:
        return False
    return True


@dataclass(frozen=True)
class _Stacked:
    """The base as it is, and what its entries do to each of its weights."""

    base: BaseTensors
    count: int
    terms: Mapping[tuple[str, Leaf], Sequence[Term]]

    @classmethod
    def of(cls, base: ChosenBase, entries: Sequence[ResolvedEntry]) -> _Stacked:
        """Open the files; nothing but headers is read."""
        tensors = open_base(base.path)
        loaded = [(load_adapter(entry.path), entry.strength) for entry in entries]
        terms = gather(loaded, tensors.modules).terms if entries else {}
        return cls(tensors, len(entries), terms)

    def products(self, module: str, leaf: Leaf, error: torch.Tensor | None) -> Products:
        """Those of one weight or bias that differs by `error`, None where it does not."""
        terms = self.terms.get((module, leaf), ())
        needed = any(term.needs_base for term in terms)
        weight = self.base.exact(self.base.names[f"{module}.weight"]) if needed else None
        shape = (
            self.base[self.base.names[f"{module}.{leaf}"]].shape if error is None else error.shape
        )
        return checkpoint_products(module, error, terms, self.count, shape, weight)


def verify_checkpoint(
    header: Header,
    base: ChosenBase,
    entries: Sequence[ResolvedEntry],
    on_progress: Progress,
) -> Verification:
    """Compare the checkpoint of `header` with `base` and `entries` fused in, under any known prefix.

    Raises what fusing raises, and `BadFile` for a file that cannot be read.
    """
    expected = fused_tensors(base, entries)
    stacked = _Stacked.of(base, entries)
    prefix = parse_checkpoint(header).prefix
    stored = {key: prefix + name for name, key in stacked.base.names.items()}
    names = {key: name for name, key in stacked.base.names.items()}
    deviations: list[Deviation] = []
    products: dict[tuple[str, Leaf], Products] = {}
    values = 0
    computed = True
    for done, (key, tensor) in enumerate(expected.items(), start=1):
        on_progress(done, len(expected), key)
        there = stored.get(key, key)
        if there not in header.tensors:
            continue
        wanted, found = tensor.load(), stored_tensor(header, there)
        values += wanted.numel()
        module, _, last = names.get(key, key).rpartition(".")
        one = deviation(there, module or there, wanted, found)
        if one is None:
            continue
        deviations.append(one)
        computed &= (module, "bias" if last == "bias" else "weight") in stacked.terms
        if key in names and found.shape == wanted.shape:
            leaf: Leaf = "bias" if last == "bias" else "weight"
            products[module, leaf] = stacked.products(module, leaf, found.float() - wanted.float())
    if deviations:
        # What is as it should be counts, too.
        products |= {
            where: stacked.products(*where, None)
            for where in stacked.terms
            if where not in products
        }
    taken = [stored.get(key, key) for key in expected]
    return _verification(
        header,
        base,
        entries,
        (len(expected), values),
        deviations,
        computed,
        list(products.values()),
        tuple(key for key in taken if key not in header.tensors),
        tuple(sorted(header.tensors.keys() - set(taken))),
    )


def _verification(
    header: Header,
    base: ChosenBase,
    entries: Sequence[ResolvedEntry],
    sizes: tuple[int, int],
    deviations: list[Deviation],
    computed: bool,
    products: list[Products],
    missing: tuple[str, ...],
    extra: tuple[str, ...],
) -> Verification:
    touched = sum(one.values for one in deviations)
    fitted = fit(products, touched) if products and entries else None
    looks = looks_of([(e.name, e.strength) for e in entries], fitted) if fitted else ()
    outcome: Outcome = "identical"
    if deviations or missing or extra:
        few = sum(one.differing - _rounded(header, one) for one in deviations) <= 0
        near = computed and all(map(_is_noise, deviations))
        chance = not any(look.striking for look in looks)
        close = few and near and chance and not (missing or extra)
        outcome = "rounding" if close else "differs"
    return Verification(
        header.path,
        "checkpoint",
        outcome,
        f"what fusing {entries_text(entries) or 'nothing'} into {base.name} gives",
        True,
        *sizes,
        tuple(sorted(deviations, key=lambda one: -(one.relative or 0.0))),
        missing,
        extra,
        fitted,
        looks,
    )


def _rounded(header: Header, one: Deviation) -> float:
    """How many of a tensor's values another processor may round otherwise, at most."""
    return _MOST_ROUNDED.get(header.tensors[one.key].dtype, 0.0) * one.values


def _is_noise(one: Deviation) -> bool:
    relative = inf if one.relative is None else one.relative
    return one.explained and (not one.beyond or relative <= _MOST_NOISE)
