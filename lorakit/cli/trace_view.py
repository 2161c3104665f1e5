"""What `lorakit trace` found in a file, for a person to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorakit.counting import counted_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lorakit.tracing.known import Finding
    from lorakit.tracing.report import Trace, TraceReport

# So many adapters that are not held are shown to a person; --json has all.
_MOST_ABSENT = 8
# From so many standard errors on, it is said why something is not held all the same.
_STRIKING = 5.0
_WORDS = {
    "same": "the same",
    "contains": "held",
    "undecided": "open",
    "unseen": "not seen",
    "absent": "not held",
}


def show(console: Console, report: TraceReport) -> None:
    """A trace for a person: the sentence first, then the evidence."""
    from lorakit.cli.render import heading, notes, rows

    heading(
        console,
        report.path.name,
        f"{report.kind} of {counted_rows(report.blocks, 'block')}, {report.dtype}, "
        f"{counted_rows(report.values, 'weight')} sampled",
    )
    console.print(report.sentence)
    traced = [trace for trace in report.traces if trace.finding.strength is not None]
    if traced:
        shown = _worth_a_row(traced)
        console.print()
        rows(
            console,
            ("model", "", "strength", "standard errors", "largest null"),
            [
                (
                    trace.finding.known.name,
                    _WORDS[trace.finding.outcome],
                    _strength(trace.finding.strength, trace.finding.error),
                    "" if trace.finding.z is None else f"{min(abs(trace.finding.z), 9999):,.0f}",
                    f"{max(nulls.largest for nulls in trace.nulls):.3f}" if trace.nulls else "",
                )
                for trace in shown
            ],
            right=("strength", "standard errors", "largest null"),
        )
        if len(shown) < len(traced):
            console.print(
                f"and {counted_rows(len(traced) - len(shown), 'adapter')} more, not held: --json"
            )
    seen = [t.finding for t in traced if not t.found and abs(t.finding.z or 0) >= _STRIKING]
    reasons = _together([finding for finding in seen if finding.outcome == "absent"])
    if reasons:
        console.print()
        notes(console, reasons)
    for trace in report.found:
        console.print()
        _show_found(console, trace)
    open_questions = [_open(trace.finding.how, trace.finding.settle) for trace in report.open]
    if report.undecided:
        open_questions.append(
            f"{counted_rows(len(report.undecided), 'module')} could not be read as plain weights, such as "
            f"{report.undecided[0]}."
        )
    if open_questions:
        console.print()
        console.print("Not decided", style="bold")
        notes(console, open_questions)


def _worth_a_row(traced: Sequence[Trace]) -> list[Trace]:
    """All but the adapters that are not held, of which the first few."""
    absent = [
        trace
        for trace in traced
        if trace.finding.outcome == "absent" and trace.finding.known.holds == "change"
    ]
    left_out = set(map(id, absent[_MOST_ABSENT:]))
    return [trace for trace in traced if id(trace) not in left_out]


def _together(findings: Sequence[Finding]) -> list[str]:
    """Why each is not held; where several have the same reason, in one sentence."""
    from lorakit.catalog.naming import listed

    groups: dict[str, list[str]] = {}
    for finding in findings:
        reason = finding.how.replace(f" {finding.known.name} ", " \0 ", 1)
        groups.setdefault(reason, []).append(finding.known.name)
    return [reason.replace("\0", listed(names)) for reason, names in groups.items()]


def _show_found(console: Console, trace: Trace) -> None:
    """One model that is there: how it was seen, and where it is."""
    from lorakit.cli.render import facts, heading

    heading(console, trace.finding.known.name)
    console.print(trace.finding.how)
    parts = [(part.name, part) for part in trace.components]
    parts += [(f"blocks {part.name}", part) for part in trace.blocks]
    facts(console, [(name, _strength(part.strength, part.error)) for name, part in parts])


def _strength(value: float | None, error: float | None) -> str:
    """A coefficient to the digits that its error leaves."""
    if value is None:
        return ""
    digits = 2 if error is None or error >= 0.005 else 3
    shown = f"{round(value, digits) + 0.0:.{digits}f}"
    return shown if error is None else f"{shown} ± {max(error, 0.001):.{digits}f}"


def _open(how: str, settle: str | None) -> str:
    return how if settle is None else f"{how} To settle it, register {settle}."
