"""The changes of one weight as one change: exactly, or with an error that is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial

import torch

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lokr import LokrModule
from lorakit.adapters.lora import LoraModule
from lorakit.errors import NotFusable
from lorakit.merging.alone import kept_as_it_is
from lorakit.merging.approximating import approximate
from lorakit.merging.cores import core_of, gram_of, truncate
from lorakit.merging.factors import Factors, join, of_matrix
from lorakit.merging.gathering import Leaf, Term
from lorakit.merging.kroneckers import approximate_kronecker
from lorakit.merging.left_behind import LeftBehind
from lorakit.merging.methods.core import core
from lorakit.merging.methods.ctm import ctm
from lorakit.merging.methods.inside import ENTRYWISE, ON_FACTORS
from lorakit.merging.methods.knots import knots
from lorakit.merging.ranks import Rank, RankRule, lost, rank_for
from lorakit.merging.report import BesideSum, ModuleMerge
from lorakit.merging.request import MergeRequest
from lorakit.merging.weight_changes import Changes, require_finite

_BY_FACTORS = {**ON_FACTORS, "knots": knots, "core": core, "ctm": ctm}

# The square of a rounding to float32: less than that is no loss of the merge.
_ROUNDING = 1e-14

# What a weight's changes became, and what there is to tell of it.
Outcome = tuple[AdapterModule, ModuleMerge]


@dataclass(frozen=True)
class Work:
    """One weight or bias to be merged; `vector` for a norm's weight, which has no rank.

    `weight` gives the base's, where a change depends on it and a base is given.
    """

    name: str
    leaf: Leaf
    terms: Sequence[Term]
    vector: bool
    weight: Callable[[], torch.Tensor] | None


def merge_one(work: Work, request: MergeRequest) -> Outcome:
    """The changes of one weight or bias as one.

    Raises `NotFusable` for a change that depends on the base's weight where there is none, and `BadFile` for
    one that is not finite, or too large to be measured.
    """
    module, facts = _merge_one(work, request)
    require_finite(torch.tensor(_figures(facts), dtype=torch.float64), work.terms)
    return module, facts


def _figures(facts: ModuleMerge) -> list[float]:
    beside = facts.beside
    return [facts.energy, facts.lost, *(astuple(beside) if beside else ())]


def _merge_one(work: Work, request: MergeRequest) -> Outcome:
    if all(isinstance(term.module, DiffModule) for term in work.terms) and (
        work.vector or work.leaf == "bias"
    ):
        return _vector(work)
    if request.alone and request.method.name == "sum" and request.rule is None:
        same = kept_as_it_is(work.name, work.terms)
        if same is not None:
            return same
    _require_base(work)
    changes = Changes.of(work.terms, work.weight() if work.weight else None, request.device)
    if request.method.name == "sum":
        return _sum(work.name, changes, request)
    by_method = _entrywise if request.method.entrywise else _by_factors
    module, facts = by_method(work.name, changes, request)
    return module, replace(facts, beside=_beside_sum(module, changes))


def _vector(work: Work) -> Outcome:
    """The weighted sum of changes of a bias or a norm: exact, summed in float64."""
    total = torch.stack(
        [
            term.module.diff.double() * term.strength
            for term in work.terms
            if isinstance(term.module, DiffModule)
        ]
    ).sum(0)
    require_finite(total, work.terms)
    form = "bias" if work.leaf == "bias" else "norm"
    energy = float(total.square().sum())
    return DiffModule(total.float()), ModuleMerge(work.name, form, None, None, energy, 0.0)


def _require_base(work: Work) -> None:
    term = next((term for term in work.terms if term.needs_base), None)
    if term is not None and (work.vector or work.leaf == "bias"):
        raise NotFusable(
            f"{term.name} replaces a vector of the base, and no adapter can hold a part of that.",
            hint="Leave it out, or stack it: a stack is fused into the base.",
        )
    if term is not None and work.weight is None:
        raise NotFusable(
            f"What {term.name} changes depends on the weight of the base, and no base was given that has it.",
            hint="Name the base that it was trained on: --base, or base= in Python.",
        )


def _sum(name: str, changes: Changes, request: MergeRequest) -> Outcome:
    apart = changes.apart(changes.everything)
    if len(changes.terms) == 1 and not request.full_diffs and (request.rule or not apart):
        module = changes.terms[0].module
        if isinstance(module, LokrModule):
            return _kronecker(name, module, changes, request)
    if not apart:
        return _from_matrix(name, changes, changes.matrix(changes.everything), request)
    rank_in, joined = changes.rank(changes.everything), join(apart)
    if request.rule is not None:
        return _of_rank(name, rank_in, joined, request.rule)
    if joined.rank > min(joined.shape):
        # The rank cannot be larger than a side; a matrix and an identity are exact.
        joined = of_matrix(joined.to(torch.float64).dense())
    return _lora(name, rank_in, joined, float(gram_of(apart).sum()), 0.0)


def _kronecker(name: str, module: LokrModule, changes: Changes, request: MergeRequest) -> Outcome:
    for side in module.parts.values():
        require_finite(side, changes.terms)
    rank_in = changes.rank(changes.everything)
    best = approximate_kronecker(module, changes.terms[0].strength, request.rule or Rank(rank_in))
    return _lora(name, rank_in, best.factors, best.energy, best.lost)


def _entrywise(name: str, changes: Changes, request: MergeRequest) -> Outcome:
    matrices = [partial(changes.matrix, places) for places in changes.by_entry()]
    result = ENTRYWISE[request.method.name](matrices, request.settings(name))
    return _from_matrix(name, changes, result, request)


def _by_factors(name: str, changes: Changes, request: MergeRequest) -> Outcome:
    left = LeftBehind()
    inputs = []
    for places in changes.by_entry():
        joined = changes.joined(places)
        if joined is None:
            matrix = changes.matrix(places)
            nearest = approximate(matrix, Rank(changes.rank(places)), request.seed)
            joined, left = nearest.factors, left.and_of(matrix, nearest)
        # Untrained modules have factors of zeros, which are no directions.
        if joined.up.any() and joined.down.any():
            inputs.append(joined)
    if not inputs:
        return _sum(name, changes, request)
    if request.levels:
        return _levelled(name, changes, inputs, left, request)
    settings = request.settings(name)
    result = _BY_FACTORS[request.method.name](inputs, settings)
    found = core_of(result.up, result.down)
    values = found.values
    kept = truncate(found, rank_for(values, request.rule) if request.rule else len(values))
    # ctm gives no sum, but what of it lies in the bases that it seeks.
    adds_up = request.method.name != "ctm" and (
        settings.options.get("in_core") == "sum" or len(inputs) == 1
    )
    energy, missed = (
        left.of_sum(values, result, kept, settings.number("scale"))
        if adds_up
        else left.of_inputs(inputs, values, kept)
    )
    module, facts = _lora(name, changes.rank(changes.everything), kept, energy, missed)
    return module, replace(facts, of_inputs=not adds_up and left.energy > 0)


def _levelled(
    name: str, changes: Changes, inputs: Sequence[Factors], left: LeftBehind, request: MergeRequest
) -> Outcome:
    """A method whose result has all directions alike: those of the plain sum are chosen first, by size.

    What is kept and lost is counted of that sum.
    """
    whole = join(inputs)
    found = core_of(whole.up, whole.down)
    values = found.values
    kept = rank_for(values, request.rule) if request.rule else len(values)
    level = truncate(found, kept, torch.float64)
    energy, missed = left.of_sum(values, whole, level)
    if values:
        by_method = _BY_FACTORS[request.method.name]([level], request.settings(name))
        level = truncate(core_of(by_method.up, by_method.down), kept)
    return _lora(name, changes.rank(changes.everything), level, energy, missed)


def _beside_sum(module: AdapterModule, changes: Changes) -> BesideSum:
    parts = changes.apart(changes.everything)
    if parts and isinstance(module, LoraModule):
        result = Factors(module.up, module.down).to(torch.float32, changes.device)
        gram = gram_of([result, *parts])
        return BesideSum(float(gram[0, 0]), float(gram[1:, 1:].sum()), float(gram[0, 1:].sum()))
    whole = changes.matrix(changes.everything)
    matrix = module.delta(torch.zeros((), device=changes.device)).flatten(1)
    products = (matrix * matrix, whole * whole, matrix * whole)
    return BesideSum(*(float(one.sum(dtype=torch.float64)) for one in products))


def _from_matrix(
    name: str, changes: Changes, matrix: torch.Tensor, request: MergeRequest
) -> Outcome:
    rank_in = changes.rank(changes.everything)
    if request.full_diffs:
        energy = float(matrix.square().sum(dtype=torch.float64))
        return DiffModule(matrix.cpu()), ModuleMerge(name, "full", rank_in, None, energy, 0.0)
    rule = request.rule or Rank(min(rank_in, *matrix.shape))
    found = approximate(matrix, rule, request.seed)
    return _lora(name, rank_in, found.factors, found.energy, found.lost)


def _of_rank(name: str, rank_in: int, factors: Factors, rule: RankRule) -> Outcome:
    found = core_of(factors.up, factors.down)
    values = found.values
    kept = rank_for(values, rule)
    energy = sum(value * value for value in values)
    return _lora(name, rank_in, truncate(found, kept), energy, lost(values, kept) ** 2)


def _lora(name: str, rank_in: int, factors: Factors, energy: float, missed: float) -> Outcome:
    if missed <= _ROUNDING * energy:
        missed = 0.0
    final = factors.to(torch.float32, "cpu")
    module = LoraModule(final.up.contiguous(), final.down.contiguous(), 1.0)
    return module, ModuleMerge(name, "lora", rank_in, final.rank, energy, missed)
