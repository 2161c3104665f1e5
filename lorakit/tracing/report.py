"""What a trace found, whole: every known model, where it is, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorakit.tracing.known import Finding
from lorakit.tracing.parts import Part

NullKind = Literal["sign-flipped", "rank-permuted"]


@dataclass(frozen=True)
class Nulls:
    """Coefficients of changes that are not there, made from one that may be.

    `kind` says how: `sign-flipped` (the signs of runs, or of an adapter's rank components, drawn anew) or
    `rank-permuted` (its rank components paired anew). `largest` is the largest absolute coefficient among
    `count` of them.
    """

    kind: NullKind
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
            "like": finding.like,
            "where": finding.where,
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
            return f"{name} {self._held}."
        if self.open:
            unclear = _listed([trace.finding.known.name for trace in self.open])
            return f"{name} shows none of the known models for certain; open is {unclear}."
        count = len(self.traces)
        models = "the one model" if count == 1 else f"any of the {count} models"
        return f"{name} does not hold {models} that it was compared with."

    @property
    def _held(self) -> str:
        """What it is, or holds; of models that are alike the first stands for all."""
        same = [trace for trace in self.found if trace.finding.outcome == "same"]
        made = [trace for trace in self.found if trace.finding.strength is None]
        held = [t for t in self.found if t not in same + made and t.finding.like is None]
        said = [f"is {_listed([self._name(trace) for trace in same])}"] if same else []
        if held:
            said.append(f"holds {_listed([self._name(t) + _at(t) for t in held])}")
        # That it was made from another version says nothing beside being one, or holding a change.
        if made and not said:
            said.append(f"was made from {self._name(made[0])} or from another version of it")
        return " and ".join(said)

    def _name(self, trace: Trace) -> str:
        name = trace.finding.known.name
        alike = [t.finding.known.name for t in self.found if t.finding.like == name]
        are = "are" if len(alike) > 1 else "is"
        return name + (f" (or {_listed(alike)}, which {are} alike)" if alike else "")

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


def _at(trace: Trace) -> str:
    """Where and how much of a model there is."""
    finding = trace.finding
    where = f" in {finding.where}" if finding.where else ""
    strengths = [part.strength for part in trace.blocks]
    if len(strengths) > 1 and not where:
        low, high = (f"{strength:.2f}" for strength in (min(strengths), max(strengths)))
        if low.removeprefix("-") != high:
            return f" at strengths from {low.removeprefix('-')} to {high} by block"
    return f"{where} at strength {finding.strength or 0:.2f}"


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _part(part: Part) -> Mapping[str, Any]:
    return {"name": part.name, "strength": _rounded(part.strength), "error": _rounded(part.error)}


def _rounded(number: float | None) -> float | None:
    """Six significant digits; infinity, which JSON does not have, is None."""
    if number is None or number in (float("inf"), float("-inf")) or number != number:
        return None
    return float(f"{number:.6g}")
