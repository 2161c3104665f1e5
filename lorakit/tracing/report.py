"""What a trace found, whole: every known model, where it is, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorakit.tracing.known import Finding
from lorakit.tracing.parts import Part


@dataclass(frozen=True)
class Nulls:
    """Coefficients of changes that are not there, made from one that may be.

    `kind` says how: `sign-flipped` (the signs of runs, or of an adapter's rank components, drawn anew) or
    `rank-permuted` (its rank components paired anew). `largest` is the largest absolute coefficient among
    `count` of them.
    """

    kind: Literal["sign-flipped", "rank-permuted"]
    count: int
    largest: float


@dataclass(frozen=True)
class Trace:
    """One known model in a suspect.

    `nulls` are for comparison; `components` and `blocks` say where it is, for a model that is there.
    """

    finding: Finding
    nulls: tuple[Nulls, ...] = ()
    components: tuple[Part, ...] = ()
    blocks: tuple[Part, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the known model is there."""
        return self.finding.outcome in ("same", "contains")

    def to_dict(self) -> dict[str, Any]:
        """The trace as JSON takes it; numbers rounded to what they are worth."""
        finding = self.finding
        return {
            "name": finding.known.name,
            "holds": finding.known.holds,
            "model": finding.known.model,
            "content": finding.known.content,
            "outcome": finding.outcome,
            "strength": _rounded(finding.strength),
            "error": _rounded(finding.error),
            "z": _rounded(finding.z),
            "how": finding.how,
            "settle": finding.settle,
            "nulls": [
                {"kind": n.kind, "count": n.count, "largest": _rounded(n.largest)}
                for n in self.nulls
            ],
            "components": [_part(part) for part in self.components],
            "blocks": [_part(part) for part in self.blocks],
        }


@dataclass(frozen=True)
class TraceReport:
    """What `path`, a checkpoint or an adapter, holds of every model it was compared with.

    `values` is how many weights were sampled; `undecided` are modules whose values could not be read.
    """

    path: Path
    kind: Literal["checkpoint", "adapter"]
    dtype: str
    blocks: int
    values: int
    traces: tuple[Trace, ...]
    undecided: tuple[str, ...] = ()

    @property
    def found(self) -> tuple[Trace, ...]:
        """The models that are there."""
        return tuple(trace for trace in self.traces if trace.found)

    @property
    def open(self) -> tuple[Trace, ...]:
        """The models of which it could not be decided."""
        outcomes = ("undecided", "unseen")
        return tuple(trace for trace in self.traces if trace.finding.outcome in outcomes)

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        name = self.path.name
        if not self.traces:
            return f"{name} was compared with nothing: no model is registered."
        if self.found:
            held = " and ".join(_held(trace) for trace in self.found)
            return f"{name} {held}."
        if self.open:
            unclear = ", ".join(trace.finding.known.name for trace in self.open)
            return f"{name} shows none of the known models for certain; open is {unclear}."
        return f"{name} holds none of the {len(self.traces)} models it was compared with."

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "dtype": self.dtype,
            "blocks": self.blocks,
            "sampled_values": self.values,
            "sentence": self.sentence,
            "undecided_modules": list(self.undecided),
            "traces": [trace.to_dict() for trace in self.traces],
        }


def _held(trace: Trace) -> str:
    finding = trace.finding
    if finding.outcome == "same":
        return f"is {finding.known.name}"
    if finding.strength is None:
        return f"was made from {finding.known.name} or a version of it"
    return f"holds {finding.known.name} at strength {finding.strength:.2f}"


def _part(part: Part) -> Mapping[str, Any]:
    return {"name": part.name, "strength": _rounded(part.strength), "error": _rounded(part.error)}


def _rounded(number: float | None) -> float | None:
    """Six significant digits; infinity, which JSON does not have, is None."""
    if number is None or number in (float("inf"), float("-inf")) or number != number:
        return None
    return float(f"{number:.6g}")
