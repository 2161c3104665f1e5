"""The singular values of every module of an adapter, and the rank that would do.

The effective rank is exp(H(p)) with p = σ / Σσ and H the entropy in nats (Roy and Vetterli, EUSIPCO 2007): as
many equal values would be as spread out. The stable rank is ‖·‖_F² / σ₁².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, log
from typing import Any

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.lora import LoraModule
from lorakit.formats import anima
from lorakit.merging.cores import singular_values
from lorakit.sketches.weights import is_norm
from lorakit.spectrum import Spectrum, spectrum

# The ranks that people resize to.
LADDER = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ENOUGH = 0.99
# Values below this part of the largest are rounding.
_NOTHING = 1e-6

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Spectra:
    """`modules` are the spectra at strength 1 by module; `ranks` how many values there can be.

    `unknown` are modules without: they depend on the base's weight, are stored in full and large, or hold
    values that are not finite.
    """

    modules: Mapping[str, Spectrum]
    ranks: Mapping[str, int]
    unknown: tuple[str, ...]

    @cached_property
    def rank(self) -> int:
        """The largest number of values of a module: of LoRA, the rank of its factors."""
        return max(self.ranks.values(), default=0)

    @cached_property
    def energy(self) -> float:
        """The squared Frobenius norm of all modules."""
        return sum(one.energy for one in self.modules.values())

    def kept(self, rank: int) -> float:
        """The part of the energy that the best approximation of that rank keeps, in every module."""
        held = sum(
            sum(value * value for value in one.values[:rank]) for one in self.modules.values()
        )
        return held / self.energy if self.energy else 1.0

    def enough(self, share: float = ENOUGH) -> int | None:
        """The smallest usual rank below the file's that keeps `share` of the energy; None without one."""
        return next(
            (rank for rank in LADDER if rank < self.rank and self.kept(rank) >= share), None
        )

    @property
    def effective_rank(self) -> float:
        """The mean over all modules that change anything."""
        return _mean([effective_rank(one) for one in self.modules.values() if one.energy])

    @property
    def stable_rank(self) -> float:
        """The mean over all modules that change anything."""
        return _mean([one.stable_rank for one in self.modules.values() if one.energy])

    def among(self, names: Sequence[str]) -> Spectra:
        """Those of some modules alone."""
        return Spectra(
            {name: self.modules[name] for name in names},
            {name: self.ranks[name] for name in names if name in self.ranks},
            (),
        )

    def by_kind(self) -> dict[str, Spectra]:
        """By kind of module inside the blocks, by component outside them."""
        found: dict[str, list[str]] = {}
        for name in self.modules:
            found.setdefault(anima.kind_or_component(name), []).append(name)
        order = (*anima.KINDS, "root", "llm_adapter", "text_encoder")
        return {kind: self.among(found[kind]) for kind in order if kind in found}

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it: every module's values, and what is said of all, of each kind and component."""
        return {
            **self._summary(),
            "enough": self.enough(),
            "share": ENOUGH,
            "kept": {str(rank): self.kept(rank) for rank in LADDER if rank <= self.rank},
            "kinds": {kind: one._summary() for kind, one in self.by_kind().items()},
            "components": {name: one._summary() for name, one in self.by_component().items()},
            "modules": {
                name: {
                    "values": list(one.values),
                    "effective_rank": effective_rank(one),
                    "stable_rank": one.stable_rank,
                }
                for name, one in self.modules.items()
            },
            "unknown": list(self.unknown),
        }

    def _summary(self) -> dict[str, Any]:
        return {
            "count": len(self.modules),
            "rank": self.rank,
            "effective_rank": self.effective_rank,
            "stable_rank": self.stable_rank,
            "energy": self.energy,
        }

    def by_component(self) -> dict[str, Spectra]:
        """By component of the model."""
        found = {
            component: [name for name in self.modules if anima.component_of(name) == component]
            for component in anima.COMPONENTS
        }
        return {component: self.among(names) for component, names in found.items() if names}


def spectra(adapter: Adapter, on_progress: Progress = lambda done, total, what: None) -> Spectra:
    """The spectra of all matrices that an adapter changes."""
    modules: dict[str, Spectrum] = {}
    ranks: dict[str, int] = {}
    unknown: list[str] = []
    matrices = {name: one for name, one in adapter.modules.items() if not is_norm(name)}
    for done, (name, module) in enumerate(matrices.items()):
        on_progress(done, len(matrices), name)
        found = _of(module)
        if found is None:
            unknown.append(name)
            continue
        modules[name] = found
        ranks[name] = len(found.values)
    return Spectra(modules, ranks, tuple(unknown))


def effective_rank(one: Spectrum) -> float:
    """exp(H(σ / Σσ)), between 1 and the rank; 0 for a change of nothing."""
    total = sum(one.values)
    if not total:
        return 0.0
    shares = (value / total for value in one.values if value)
    return exp(-sum(share * log(share) for share in shares))


def _of(module: AdapterModule) -> Spectrum | None:
    if not isinstance(module, LoraModule):
        return _without_nothing(spectrum(module))
    if module.up.shape[1] >= min(module.up.shape[0], module.down.shape[1]):
        return spectrum(module)
    if not all(bool(torch.isfinite(one.float()).all()) for one in (module.up, module.down)):
        return None
    with torch.inference_mode():
        values = (singular_values(module.up, module.down) * abs(module.scale)).tolist()
    least = _NOTHING * max(values, default=0.0)
    return Spectrum(tuple(value if value > least else 0.0 for value in values))


def _without_nothing(found: Spectrum | None) -> Spectrum | None:
    """Without what sides of low rank leave behind: a Kronecker product's rank is that of its sides."""
    if found is None or not found.energy:
        return found
    return Spectrum(tuple(value for value in found.values if value > _NOTHING * found.values[0]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
