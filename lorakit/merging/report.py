"""What a merge did: ranks in and out, and how much of the change is kept, module by module and by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, sqrt
from typing import Any

from lorakit.formats import anima


@dataclass(frozen=True)
class BesideSum:
    """What a method gave beside the plain weighted sum: both energies, and their inner product."""

    energy: float
    sum_energy: float
    inner: float

    @property
    def size(self) -> float:
        """‖result‖_F / ‖sum‖_F."""
        return sqrt(self.energy / self.sum_energy) if self.sum_energy else 0.0

    @property
    def cosine(self) -> float:
        """Of the angle between result and sum."""
        both = sqrt(self.energy * self.sum_energy)
        return self.inner / both if both else 0.0


@dataclass(frozen=True)
class ModuleMerge:
    """One weight: `form` is what it became (lora, full, norm, bias, or the algorithm it kept).

    `rank_in` is the sum of the ranks that came in, `rank_out` what is left; None for changes in full. `energy` is
    the squared Frobenius norm of the change that was meant and `lost` that of what is missing from it; where a
    method levels the sum's directions, both are of the sum before. With `of_inputs` some of what came in had no
    thin factors, and the method gives something else than the sum: `lost` is, as a share of `energy`, what is
    missing of the plain sum of what came in, and at most that where a rank cuts the result as well. What only
    rounding of the result loses is not counted. `beside` compares the result of a method other than the sum with
    the sum.
    """

    name: str
    form: str
    rank_in: int | None
    rank_out: int | None
    energy: float
    lost: float
    beside: BesideSum | None = None
    of_inputs: bool = False

    @property
    def kind(self) -> str:
        """self_attn, cross_attn, mlp, adaln or root; elsewhere the component."""
        return anima.kind_or_component(self.name)


@dataclass(frozen=True)
class KindMerge:
    """The modules of one kind together; ranks as (least, most), None where there are none."""

    kind: str
    modules: int
    rank_in: tuple[int, int] | None
    rank_out: tuple[int, int] | None
    energy: float
    lost: float
    beside: BesideSum | None

    @property
    def retained(self) -> float:
        """The share of the energy that is kept, 0 to 1; 1 for a change of nothing."""
        return max(0.0, 1 - self.lost / self.energy) if self.energy else 1.0

    @property
    def error(self) -> float:
        """‖result - meant‖_F / ‖meant‖_F."""
        return sqrt(self.lost / self.energy) if self.energy else 0.0


@dataclass(frozen=True)
class MergeReport:
    """How adapters became one: the method with every option it used, and what that did.

    `exact` tells whether nothing but rounding of the result lies between it and what was meant.
    """

    method: str
    options: Mapping[str, float | str]
    rank: str | None
    seed: int
    blocks: int
    modules: tuple[ModuleMerge, ...]
    notes: tuple[str, ...]

    @cached_property
    def kinds(self) -> tuple[KindMerge, ...]:
        """By kind, in the order of the model."""
        order = [*anima.KINDS, "root", *anima.COMPONENTS]
        found = {kind: [m for m in self.modules if m.kind == kind] for kind in order}
        return tuple(_together(kind, modules) for kind, modules in found.items() if modules)

    @cached_property
    def total(self) -> KindMerge:
        """All modules together."""
        return _together("all", self.modules)

    @property
    def exact(self) -> bool:
        """Whether every module is exact."""
        return not any(module.lost for module in self.modules)

    @property
    def of_inputs(self) -> bool:
        """Whether the error is one of what came in, in some module: see `ModuleMerge`."""
        return any(module.of_inputs for module in self.modules)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {
            "method": self.method,
            "options": dict(self.options),
            "rank": self.rank,
            "seed": self.seed,
            "blocks": self.blocks,
            "exact": self.exact,
            "error_of": "inputs" if self.of_inputs else "result",
            "modules": len(self.modules),
            "total": _kind_dict(self.total),
            "kinds": [_kind_dict(kind) for kind in self.kinds],
            "notes": list(self.notes),
        }


def _together(kind: str, modules: Sequence[ModuleMerge]) -> KindMerge:
    return KindMerge(
        kind,
        len(modules),
        _span([m.rank_in for m in modules if m.rank_in is not None]),
        _span([m.rank_out for m in modules if m.rank_out is not None]),
        fsum(m.energy for m in modules),
        fsum(m.lost for m in modules),
        _beside([m.beside for m in modules if m.beside is not None]),
    )


def _beside(found: Sequence[BesideSum]) -> BesideSum | None:
    if not found:
        return None
    return BesideSum(
        fsum(one.energy for one in found),
        fsum(one.sum_energy for one in found),
        fsum(one.inner for one in found),
    )


def _span(ranks: list[int]) -> tuple[int, int] | None:
    return (min(ranks), max(ranks)) if ranks else None


def _kind_dict(kind: KindMerge) -> dict[str, Any]:
    return {
        "kind": kind.kind,
        "modules": kind.modules,
        "rank_in": list(kind.rank_in) if kind.rank_in else None,
        "rank_out": list(kind.rank_out) if kind.rank_out else None,
        "energy": kind.energy,
        "retained_energy": kind.retained,
        "relative_error": kind.error,
        "beside_sum": None
        if kind.beside is None
        else {"size": kind.beside.size, "cosine": kind.beside.cosine},
    }
