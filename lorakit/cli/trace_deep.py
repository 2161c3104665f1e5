"""`lorakit trace --deep`: what sampled values leave open, from every weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lorakit.cli.output import Progress
from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    from lorakit.cli.trace_run import Suspect
    from lorakit.sketches.adapters import WeightOf
    from lorakit.tracing.known import Finding, Known
    from lorakit.tracing.report import Trace

_CERTAIN = 5.0
_FAINT = 0.03


def deepened(suspect: Suspect, traces: Sequence[Trace], on_progress: Progress) -> tuple[Trace, ...]:
    """The traces with strengths taken from whole files, where those are here.

    Raises `BadUsage` for an adapter, which has been read whole already, and `BadFile` for a checkpoint
    that is not one file of plain weights.
    """
    from lorakit.tracing.weights import weights_in

    if suspect.kind != "checkpoint" or suspect.path.is_dir():
        raise BadUsage("--deep reads a checkpoint in one file; leave it out for this one.")
    weights = weights_in(suspect.path)
    return tuple(
        replace(trace, finding=_deeper(trace.finding, weights, on_progress)) for trace in traces
    )


def _deeper(finding: Finding, suspect: WeightOf, on_progress: Progress) -> Finding:
    if finding.outcome == "unseen" and finding.known.path is not None:
        return _without_relatives(finding, suspect, on_progress)
    reference = finding.reference
    if finding.change is None or reference is None or reference.path is None:
        return finding
    change_of = _change(finding.known, reference)
    if finding.outcome == "same" or change_of is None:
        return finding
    from lorakit.tracing.deep_change import deep_strength
    from lorakit.tracing.weights import weights_in

    found = deep_strength(
        suspect,
        weights_in(reference.path),
        change_of,
        finding.change.values,
        finding.strength or 0.0,
        on_progress,
    )
    if found is None:
        return finding
    outcome = finding.outcome
    if found.value >= _FAINT and found.value >= _CERTAIN * found.error:
        outcome = "contains"
    elif abs(found.value) + 2 * found.error < _FAINT:
        outcome = "absent"
    how = (
        f"From {found.weights:,} weights of {found.modules} modules: the change that makes "
        f"{finding.known.name} is in it at strength {found.value:.4f} ± {found.error:.4f}, next to "
        f"{reference.name}."
    )
    return replace(
        finding,
        outcome=outcome,
        how=how,
        strength=found.value,
        error=found.error,
        z=found.value / found.error,
    )


def _without_relatives(finding: Finding, suspect: WeightOf, on_progress: Progress) -> Finding:
    """An adapter, where no relative of the checkpoint is known."""
    from lorakit.adapters.loading import load_adapter
    from lorakit.tracing.deep import deep_estimate

    assert finding.known.path is not None
    found = deep_estimate(load_adapter(finding.known.path), suspect, on_progress)
    if found is None:
        return finding
    seen = (
        f"From every weight of {found.modules} modules, without a relative to compare with: "
        f"{found.value:.3f} ± {found.error:.3f} of {finding.known.name}; the largest of {found.nulls:,} "
        f"nulls is {found.largest_null:.3f}."
    )
    there = found.value >= _FAINT and found.z >= _CERTAIN
    gone = abs(found.value) + 2 * found.error < _FAINT
    outcome = "contains" if there else "absent" if gone else finding.outcome
    settle = finding.settle if outcome == "unseen" else None
    return replace(
        finding,
        outcome=outcome,
        how=seen,
        strength=found.value,
        error=found.error,
        z=found.z,
        settle=settle,
    )


def _change(one: Known, reference: Known) -> WeightOf | None:
    """The own change of a known model, by module; None where its files are not here.

    It is counted from the model that the suspect is compared with.
    """
    from lorakit.tracing.weights import change_between, change_of

    if one.path is None or reference.path is None:
        return None
    try:
        if one.holds == "change":
            return change_of(one.path)
        return change_between(one.path, reference.path)
    except LorakitError:
        return None
