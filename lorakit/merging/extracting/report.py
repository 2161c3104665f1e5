"""What an extraction found: ranks and how much of the difference they hold, by module and by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum, sqrt
from pathlib import Path
from typing import Any

from lorakit.formats import anima


@dataclass(frozen=True)
class ExtractedModule:
    """One tensor of the model that differs. All energies are squared Frobenius norms.

    `rank` is None for a norm or bias, taken in full, and 0 where nothing rises above rounding. `energy` is
    that of the difference and `lost` that of what the factors, as stored, miss of it; `weight` that of the
    base's weight. `rounding` is what rounding the tuned weight adds to the difference on average, and
    `inseparable` what of this lies within the factors, where nothing tells it from the change. `limited`
    tells that the highest allowed rank was reached.
    """

    name: str
    rank: int | None
    energy: float
    lost: float
    weight: float
    rounding: float
    inseparable: float
    limited: bool

    @property
    def kind(self) -> str:
        """self_attn, cross_attn, mlp, adaln or root; llm_adapter; norms; biases."""
        if self.rank is None:
            return "biases" if self.name.endswith(".bias") else "norms"
        return anima.kind_or_component(self.name)


@dataclass(frozen=True)
class ExtractedKind:
    """The tensors of one kind together; `ranks` as (least, most), None where they are taken in full."""

    kind: str
    modules: int
    ranks: tuple[int, int] | None
    energy: float
    lost: float
    weight: float
    rounding: float
    inseparable: float

    @property
    def retained(self) -> float:
        """The share of the difference's energy that the adapter holds, at most 1."""
        return 1 - self.lost / self.energy if self.energy else 1.0

    @property
    def relative(self) -> float | None:
        """‖difference‖ / ‖weight‖; None where the weights are not known."""
        return sqrt(self.energy / self.weight) if self.weight else None

    @property
    def rounded(self) -> float:
        """The share of the difference's energy that rounding the tuned weights accounts for."""
        return self.rounding / self.energy if self.energy else 0.0

    @property
    def floor(self) -> float:
        """How far the adapter lies from the change before rounding, relative to it, when that was of its rank."""
        kept = self.energy - self.lost
        return sqrt(self.inseparable / kept) if kept > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "kind": self.kind,
            "modules": self.modules,
            "ranks": list(self.ranks) if self.ranks else None,
            "energy": self.energy,
            "retained_energy": self.retained,
            "relative_error": sqrt(max(0.0, 1 - self.retained)),
            "relative_change": self.relative,
            "rounding_energy": self.rounded,
            "predicted_error_before_rounding": self.floor,
        }


@dataclass(frozen=True)
class ExtractionReport:
    """An extraction of `tuned` minus `base`, as the report for a person and for JSON.

    `rule` says how ranks were chosen and `most` how high they could go, None for a rank that was given.
    `left_out` are norms and biases that differ and were not asked for, `one_sided` matrices, norms and biases that only
    one of the checkpoints has, `unknown` tensors under names of no part of the model that differ or are in one only.
    """

    tuned: Path
    base: Path
    blocks: int
    rule: str
    most: int | None
    modules: tuple[ExtractedModule, ...]
    left_out: tuple[str, ...]
    one_sided: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @cached_property
    def kept(self) -> tuple[ExtractedModule, ...]:
        """Those that are in the adapter."""
        return tuple(module for module in self.modules if module.rank != 0)

    @cached_property
    def below_rounding(self) -> tuple[str, ...]:
        """The matrices that differ by no more than rounding, and are left out."""
        return tuple(module.name for module in self.modules if module.rank == 0)

    @cached_property
    def limited(self) -> tuple[str, ...]:
        """The matrices that would take a higher rank than was allowed."""
        return tuple(module.name for module in self.modules if module.limited)

    @cached_property
    def kinds(self) -> tuple[ExtractedKind, ...]:
        """By kind, in the order of the model."""
        order = [*anima.KINDS, "root", "llm_adapter", "norms", "biases"]
        found = {kind: [m for m in self.kept if m.kind == kind] for kind in order}
        return tuple(_together(kind, modules) for kind, modules in found.items() if modules)

    @cached_property
    def total(self) -> ExtractedKind:
        """All matrices that are in the adapter together."""
        return _together("all", [m for m in self.kept if m.rank is not None])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {
            "tuned": str(self.tuned),
            "base": str(self.base),
            "blocks": self.blocks,
            "rule": self.rule,
            "max_rank": self.most,
            "total": self.total.to_dict(),
            "kinds": [kind.to_dict() for kind in self.kinds],
            "below_rounding": list(self.below_rounding),
            "at_max_rank": list(self.limited),
            "left_out": list(self.left_out),
            "in_one_only": list(self.one_sided),
            "unknown": list(self.unknown),
        }


def _together(kind: str, modules: Sequence[ExtractedModule]) -> ExtractedKind:
    ranks = [module.rank for module in modules if module.rank is not None]
    return ExtractedKind(
        kind,
        len(modules),
        (min(ranks), max(ranks)) if ranks else None,
        fsum(module.energy for module in modules),
        fsum(module.lost for module in modules),
        fsum(module.weight for module in modules),
        fsum(module.rounding for module in modules),
        fsum(module.inseparable for module in modules),
    )
