"""What sampled values leave open, from whole rows of the files that are here, or from every weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lorakit.adapters.loading import load_adapter
from lorakit.counting import counted_rows
from lorakit.errors import LorakitError
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.whole import weights_in
from lorakit.tracing import sentences
from lorakit.tracing.coefficient import Evidence
from lorakit.tracing.deep import DeepEstimate, deep_estimate
from lorakit.tracing.deep_change import deep_evidence
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.parts import by_blocks, by_component
from lorakit.tracing.recognition import outcome_of
from lorakit.tracing.report import Trace
from lorakit.tracing.weighing import CERTAIN, FAINT, Weighed, weigh_weights
from lorakit.tracing.weights import bands, change_between, change_of

# (done, total, what is being read)
Progress = Callable[[int, int, str], None]


def deepened(suspect: Path, traces: Sequence[Trace], on_progress: Progress) -> tuple[Trace, ...]:
    """The traces of a checkpoint, from every weight where the files of all that it takes are here.

    Raises `BadFile` for a checkpoint that cannot be read.
    """
    whole, some = weights_in(suspect), weights_in(suspect, bands)
    return tuple(_deeper(trace, whole, some, on_progress) for trace in traces)


def _deeper(trace: Trace, whole: WeightOf, some: WeightOf, on_progress: Progress) -> Trace:
    finding = trace.finding
    path, reference = finding.known.path, finding.reference
    if finding.outcome == "unseen" and path is not None:
        found = deep_estimate(load_adapter(path), whole, on_progress)
        return (
            trace if found is None else replace(trace, finding=_without_relatives(finding, found))
        )
    if finding.change is None or reference is None or finding.outcome == "same":
        return trace
    evidence = _evidence(finding, reference, some, on_progress)
    return trace if evidence is None else _traced(trace, reference, evidence)


def _evidence(
    finding: Finding, reference: Known, suspect: WeightOf, on_progress: Progress
) -> Evidence | None:
    """What rows of all matrices tell; None where a file is missing or cannot be read."""
    if reference.path is None or finding.change is None:
        return None
    whole, before = weights_in(reference.path), weights_in(reference.path, bands)
    change = _change(finding, whole)
    beside = [(value, _change(other, whole)) for other, value in finding.beside]
    if change is None:
        return None
    there = [(value, other) for value, other in beside if other is not None]
    names = tuple(finding.change.values)
    return deep_evidence(suspect, before, change, names, there, on_progress)


def _change(finding: Finding, before: WeightOf) -> WeightOf | None:
    """What makes a known model, module by module; None where its files are not here."""
    made, reference = finding.known.path, finding.reference
    if made is None or reference is None or reference.path is None:
        return None
    with suppress(LorakitError):
        if finding.known.holds == "change":
            return change_of(made, before, bands)
        return change_between(made, reference.path, bands)
    return None


def _traced(trace: Trace, reference: Known, evidence: Evidence) -> Trace:
    finding, names = trace.finding, evidence.products.names
    weighed = weigh_weights(evidence)
    found = weighed.estimate
    deeper = replace(
        finding,
        outcome=outcome_of(weighed.answer),
        how=_how(finding.known, reference, weighed, len(names)),
        strength=found.value,
        error=found.error,
        z=found.z,
        where=weighed.where,
    )
    if not trace.blocks:
        return replace(trace, finding=deeper)
    components = by_component(names, evidence.estimate)
    return replace(
        trace, finding=deeper, components=components, blocks=by_blocks(names, evidence.estimate)
    )


def _how(known: Known, reference: Known, weighed: Weighed, modules: int) -> str:
    found = weighed.estimate
    start = f"From {counted_rows(found.count, 'weight')} of {counted_rows(modules, 'module')}: "
    if weighed.answer != "there":
        said = sentences.weighed(known, reference, weighed)
        return start + said[0].lower() + said[1:]
    where = f" in {weighed.where}" if weighed.where else ""
    what = known.name if known.holds == "change" else f"the change that makes {known.name}"
    return (
        f"{start}{what} is in it{where} at strength {found.value:.4f} ± {found.error:.4f}, next to "
        f"{reference.name}."
    )


def _without_relatives(finding: Finding, found: DeepEstimate) -> Finding:
    """An adapter, where no relative of the checkpoint is known."""
    there = found.value >= FAINT and found.z >= CERTAIN
    gone = abs(found.value) + 2 * found.error < FAINT
    outcome = "contains" if there else "absent" if gone else finding.outcome
    how = (
        f"From every weight of {counted_rows(found.modules, 'module')}, without a relative to compare with: "
        f"{found.value:.3f} ± {found.error:.3f} of {finding.known.name}; the largest of {found.nulls:,} "
        f"nulls is {found.largest_null:.3f}."
    )
    return replace(
        finding,
        outcome=outcome,
        how=how,
        strength=found.value,
        error=found.error,
        z=found.z,
        settle=finding.settle if outcome == "unseen" else None,
    )
