"""How `lorakit check` looks in a terminal of 80 columns, with or without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorakit.cli.check_groups import bar, percent, show_groups, unit
from lorakit.cli.output import visible
from lorakit.cli.render import heading, notes, rows
from lorakit.merging.checking.advice import Advice, advise
from lorakit.merging.checking.balance import balanced
from lorakit.merging.checking.document import stack_text
from lorakit.merging.checking.notes import notes_on
from lorakit.merging.checking.relations import relation
from lorakit.strengths.text import number

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.cli.check_run import Checked
    from lorakit.merging.checking.comparing import Angle, Comparison, Pair

_MOST_PAIRS = 10
_SERIOUS = ("refused", "same", "apart")
_RELATIONS = {
    "same": "the same change",
    "scaled": "the same, scaled",
    "relative": "relatives",
    "together": "the same way",
    "apart": "against one another",
    "independent": "independent",
    "nothing": "one changes nothing",
}


def show(console: Console, checked: Checked, by: str, balance: bool) -> None:
    """The comparison for a person."""
    comparison = checked.comparison
    ground = comparison.ground
    if ground is None:
        heading(console, "Check", "without a base")
    else:
        aside = f"{ground.modules.label}, {ground.modules.blocks} blocks, {ground.stored}"
        heading(console, f"Check on {checked.base or ground.modules.label}", aside)
    _show_entries(console, comparison)
    if comparison.pairs:
        console.print()
        _show_pairs(console, comparison)
    groups = comparison.blocks if by == "blocks" else comparison.kinds
    if groups:
        console.print()
        show_groups(console, comparison, by, groups)
    if balance:
        console.print()
        _show_balance(console, checked)
    advice = advise(comparison, checked.usual)
    if advice:
        console.print()
        _show_advice(console, advice)
    remarks = notes_on(comparison)
    if remarks:
        console.print()
        notes(console, remarks, style="dim")


def _show_entries(console: Console, comparison: Comparison) -> None:
    whole, strengths = comparison.whole, comparison.strengths
    sizes = [whole.size(at, w) for at, w in enumerate(strengths)]
    together = whole.sum_size(strengths)
    whole_unit = unit(comparison, whole) or 0.0
    most = max([*sizes, together], default=0.0)
    body = []
    for at, (label, part) in enumerate(zip(comparison.labels, comparison.parts, strict=True)):
        alone = [strengths[at] if place == at else 0.0 for place in range(len(strengths))]
        refined = "" if part.strength.is_plain else "@..."
        strength = f"{number(part.strength.base)}{refined}"
        body.append(
            [
                label,
                strength,
                _part(sizes[at], whole_unit),
                bar(sizes[at], most),
                _lost(comparison, alone),
            ]
        )
    if len(strengths) > 1:
        lost = _lost(comparison, strengths)
        body.append(["together", "", _part(together, whole_unit), bar(together, most), lost])
    columns = ["entry", "strength", _unit_word(comparison), "", "rounded away"]
    if comparison.lost(strengths) is None:
        columns, body = columns[:4], [row[:4] for row in body]
    right = ("strength", _unit_word(comparison), "rounded away")
    rows(console, columns, body, right=right)
    strongest = max(sizes)
    if len(strengths) > 1 and strongest:
        apart = whole.apart_size(strengths) / strongest
        console.print(
            f"Together they are {together / strongest:.2f} times the strongest; with nothing in common they "
            f"would be {apart:.2f} times.",
            style="dim",
        )


def _show_pairs(console: Console, comparison: Comparison) -> None:
    whole, labels = comparison.whole, comparison.labels
    pairs = sorted(comparison.pairs, key=lambda p: -abs(whole.cosine(p.one, p.other) or 0.0))
    rows(
        console,
        ("pair", "cosine", "outputs", "inputs", ""),
        [
            (
                f"{labels[pair.one]}, {labels[pair.other]}",
                _cosine(_turned(comparison, pair)),
                _times(pair.outputs),
                _times(pair.inputs),
                _RELATIONS[relation(comparison, pair.one, pair.other, given=True)],
            )
            for pair in pairs[:_MOST_PAIRS]
        ],
        right=("cosine", "outputs", "inputs"),
    )
    chances = [whole.by_chance(pair.one, pair.other) or 0.0 for pair in pairs]
    text = (
        f"Cosine: 1 the same change, 0 nothing in common, below 0 against one another; strangers lie "
        f"within ±{max(4 * max(chances), 0.0001):.2g}. Outputs, inputs: how far directions agree, as a "
        "multiple of chance."
    )
    if len(pairs) > _MOST_PAIRS:
        text = f"{len(pairs) - _MOST_PAIRS} more pairs are in --json. {text}"
    console.print(text, style="dim")


def _show_balance(console: Console, checked: Checked) -> None:
    comparison = checked.comparison
    found = balanced(comparison.whole, comparison.strengths)
    if found is None:
        console.print(
            "There is nothing to balance: fewer than two entries change anything, or they cancel out."
        )
        return
    heading(console, "Balanced", "all contribute alike, together as strong as the strongest now")
    console.print(visible(stack_text(comparison, found.strengths)), soft_wrap=True)
    for label, strength in zip(comparison.labels, found.strengths, strict=True):
        said = checked.usual.get(label)
        if said is None:
            continue
        if said.excludes(strength):
            notes(
                console, [f"{label} is said to work {said.words}; {number(strength)} is outside."]
            )
        elif said.value is not None:
            console.print(f"{visible(label)} is usually used at {number(said.value)}.", style="dim")


def _show_advice(console: Console, advice: Sequence[Advice]) -> None:
    heading(console, "Advice")
    for one in advice:
        notes(console, [one.text], style="red" if one.kind in _SERIOUS else "yellow")


def _unit_word(comparison: Comparison) -> str:
    on_base = comparison.ground is not None and comparison.whole.base
    return "change / base" if on_base else "of the strongest"


def _part(size: float, unit: float) -> str:
    return percent(size / unit) if unit else ""


def _lost(comparison: Comparison, strengths: Sequence[float]) -> str:
    lost = comparison.lost(strengths)
    return "" if lost is None else f"{100 * lost:.1f} %"


def _turned(comparison: Comparison, pair: Pair) -> float | None:
    """The cosine at the given strengths, which a negative one turns."""
    cosine = comparison.whole.cosine(pair.one, pair.other)
    opposed = comparison.strengths[pair.one] * comparison.strengths[pair.other] < 0
    return -cosine if cosine is not None and opposed else cosine


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _times(angle: Angle | None) -> str:
    return "" if angle is None else f"×{angle.times_chance:.1f}"
