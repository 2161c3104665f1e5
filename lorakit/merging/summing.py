"""The sum of one weight's changes, exactly, or its best approximation of a wanted rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.errors import NotFusable
from lorakit.merging.cores import core_of, gram_of, truncate
from lorakit.merging.factors import Factors, exact_factors, join, of_matrix
from lorakit.merging.gathering import Term
from lorakit.merging.ranks import RankRule, lost, rank_for
from lorakit.merging.report import ModuleMerge


@dataclass(frozen=True)
class Recipe:
    """How a merge is made, the same for every weight."""

    method: str
    options: Mapping[str, float | str]
    rule: RankRule | None
    seed: int
    full_diffs: bool
    device: torch.device


def merge_bias(name: str, terms: Sequence[Term]) -> tuple[AdapterModule, ModuleMerge]:
    """The weighted sum of changes of a bias."""
    total = sum_of_full(terms)
    return DiffModule(total), ModuleMerge(name, "bias", None, None, _squares(total), 0.0)


def merge_weight(
    name: str,
    terms: Sequence[Term],
    shape: tuple[int, ...],
    weight: torch.Tensor | None,
    recipe: Recipe,
) -> tuple[AdapterModule, ModuleMerge]:
    """The weighted sum of changes of one weight."""
    if len(shape) == 1:
        total = sum_of_full(terms)
        return DiffModule(total), ModuleMerge(name, "norm", None, None, _squares(total), 0.0)
    found = [exact_factors(t.module, t.strength) for t in terms]
    thin = [part for part in found if part is not None]
    if len(thin) < len(terms):
        raise NotFusable(f"{terms[0].name} is not of low rank.")
    joined = join(_without_doubles(thin))
    energy = float(gram_of([joined])[0, 0])
    rank_in = sum(part.rank for part in thin)
    missing = 0.0
    if recipe.rule is not None:
        core = core_of(joined.up, joined.down)
        kept = rank_for(core.values, recipe.rule)
        missing = lost(core.values, kept) ** 2
        joined = truncate(core, kept)
    elif joined.rank > min(joined.shape):
        joined = of_matrix((joined.up.double() @ joined.down.double()).float())
    module = LoraModule(joined.up, joined.down, 1.0)
    return module, ModuleMerge(name, "lora", rank_in, joined.rank, energy, missing)


def sum_of_full(terms: Sequence[Term]) -> torch.Tensor:
    """The weighted sum of vectors in float32, summed in float64."""
    parts = []
    for term in terms:
        if not isinstance(term.module, DiffModule):
            raise NotFusable(
                f"{term.name} depends on the base's values, which a merge of adapters cannot hold.",
                hint="Leave it out, or stack it: a stack is fused into the base.",
            )
        parts.append(term.module.diff.double() * term.strength)
    return torch.stack(parts).sum(0).float()


def _without_doubles(parts: Sequence[Factors]) -> list[Factors]:
    """Changes with the same down factor as one, whose up factors add up: opposite ones vanish."""
    kept: list[Factors] = []
    for part in parts:
        for place, other in enumerate(kept):
            if other.down.shape == part.down.shape and torch.equal(other.down, part.down):
                kept[place] = Factors(other.up + part.up, other.down)
                break
        else:
            kept.append(part)
    return kept


def _squares(values: torch.Tensor) -> float:
    return float(values.double().square().sum())
