"""One adapter that is merged with nothing stays what it is, whatever its algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.full import DiffModule, SumModule
from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.parts import Parts
from lorakit.merging.cores import gram_of
from lorakit.merging.factors import exact_factors, join
from lorakit.merging.gathering import Term
from lorakit.merging.report import ModuleMerge
from lorakit.merging.weight_changes import require_finite


def kept_as_it_is(name: str, terms: Sequence[Term]) -> tuple[AdapterModule, ModuleMerge] | None:
    """The patch of one adapter at its strength, or None where that takes a base.

    The tensors are those of the file; a strength is multiplied into the scale of LoRA, and into one factor
    of LoHa and LoKr, whose scale a reader may pass over.
    """
    found = [times(term.module, term.strength) for term in terms]
    modules = tuple(module for module in found if module is not None)
    if len(modules) < len(found):
        return None
    module = modules[0] if len(modules) == 1 else SumModule(modules)
    rank = terms[0].rank
    forms = {LoraModule: "lora", LohaModule: "loha", LokrModule: "lokr", DiffModule: "full"}
    form = forms.get(type(module), "as it is")
    energy = _energy(terms)
    require_finite(torch.tensor(energy), terms)
    return module, ModuleMerge(name, form, rank, rank, energy, 0.0)


def times(module: AdapterModule, strength: float) -> AdapterModule | None:
    """`strength` times the change of `module`, None where the algorithm has no such form."""
    if strength == 1:
        return module
    if isinstance(module, LoraModule):
        return replace(module, scale=module.scale * strength)
    if isinstance(module, DiffModule):
        return DiffModule(module.diff.float() * strength)
    if isinstance(module, LohaModule):
        return LohaModule(_multiplied(module.parts, "hada_w1_a", strength))
    if isinstance(module, LokrModule):
        whole = "lokr_w1" in module.parts
        return LokrModule(_multiplied(module.parts, "lokr_w1" if whole else "lokr_w1_a", strength))
    return None


def _multiplied(parts: Parts, name: str, strength: float) -> Parts:
    return replace(parts, tensors={**parts.tensors, name: parts[name].float() * strength})


def _energy(terms: Sequence[Term]) -> float:
    """‖change‖² where it is known without a base; 0 where not."""
    thin = [exact_factors(term.module, term.strength) for term in terms]
    known = [part for part in thin if part is not None]
    if len(known) < len(thin):
        if any(term.needs_base for term in terms):
            return 0.0
        like = torch.zeros((), dtype=torch.float32)
        changes = [term.module.delta(like).flatten(1) * term.strength for term in terms]
        return float(torch.stack(changes).sum(0).square().sum(dtype=torch.float64))
    return float(gram_of([join(known)])[0, 0])
