"""How `lorakit check` looks in a terminal of 80 columns, with or without colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorakit.cli.check_groups import bar, percent, show_groups, unit
from lorakit.cli.output import visible
from lorakit.cli.render import heading, notes, rows
from lorakit.cli.stack_view import TOUCHED
from lorakit.counting import counted_rows
from lorakit.merging.checking.advice import Advice, advise
from lorakit.merging.checking.balance import balanced_or_why
from lorakit.merging.checking.document import stack_text
from lorakit.merging.checking.notes import notes_on
from lorakit.merging.checking.relations import relation
from lorakit.merging.checking.wording import LIMITS, SENTENCES, filled
from lorakit.strengths.text import number

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.cli.check_run import Checked
    from lorakit.merging.checking.comparing import Angle, Comparison, Pair

_MOST_PAIRS = 10
_BAR = 16
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
        aside = f"{ground.modules.label}, {counted_rows(ground.modules.blocks, 'block')}, {ground.stored}"
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
                "–" if comparison.outside(at) else _part(sizes[at], whole_unit),
                bar(sizes[at], most, _BAR),
                _touched(comparison, at),
                _lost(comparison, alone),
            ]
        )
    if len(strengths) > 1:
        lost = _lost(comparison, strengths)
        size = _part(together, whole_unit)
        body.append(["together", "", size, bar(together, most, _BAR), "", lost])
    columns = ["entry", "strength", _unit_word(comparison), "", TOUCHED, "rounded away"]
    if not _on_base(comparison):
        columns, body = columns[:4], [row[:4] for row in body]
    elif not any(row[5] for row in body):
        columns, body = columns[:5], [row[:5] for row in body]
    right = ("strength", _unit_word(comparison), TOUCHED, "rounded away")
    rows(console, columns, body, right=right, drawn=("",))
    strongest = max(sizes)
    if len(strengths) > 1 and strongest:
        apart = whole.apart_size(strengths) / strongest
        said = filled("sum", sum=f"{together / strongest:.2f}", apart=f"{apart:.2f}")
        console.print(said, style="dim")


def _show_pairs(console: Console, comparison: Comparison) -> None:
    whole, labels = comparison.whole, comparison.labels
    pairs = sorted(comparison.pairs, key=lambda p: -abs(whole.cosine(p.one, p.other) or 0.0))
    rows(
        console,
        ("pair", "cosine", "outputs", "inputs", ""),
        [
            (
                f"{labels[pair.one]}, {labels[pair.other]}",
                _cosine(comparison.cosine(pair.one, pair.other)),
                _times(pair.outputs),
                _times(pair.inputs),
                _relation(comparison, pair),
            )
            for pair in pairs[:_MOST_PAIRS]
        ],
        right=("cosine", "outputs", "inputs"),
    )
    if all(whole.cosine(pair.one, pair.other) is None for pair in pairs):
        return
    chances = [whole.by_chance(pair.one, pair.other) or 0.0 for pair in pairs]
    text = (
        f"Cosine at these strengths: 1 the same change, 0 nothing in common, below 0 against one another; "
        f"strangers lie within ±{max(4 * max(chances), 0.0001):.2g}. Outputs, inputs: how far directions "
        "agree, as a multiple of chance."
    )
    if len(pairs) > _MOST_PAIRS:
        more = len(pairs) - _MOST_PAIRS
        text = f"{counted_rows(more, 'more pair')} {'is' if more == 1 else 'are'} in --json. {text}"
    console.print(text, style="dim")


def _show_balance(console: Console, checked: Checked) -> None:
    comparison = checked.comparison
    found = balanced_or_why(comparison.whole, comparison.strengths)
    if isinstance(found, str):
        console.print(found)
        return
    heading(console, "Balanced", "all contribute alike, together as strong as the strongest now")
    console.print(visible(stack_text(comparison, found.strengths)), soft_wrap=True)
    for label, strength in zip(comparison.labels, found.strengths, strict=True):
        said = checked.usual.get(label)
        if said is None:
            continue
        because = f" {said.because[0]}" if said.because else ""
        if said.excludes(strength):
            outside = (
                f"{number(strength)} for {label} is outside {said.words}, which suggests itself."
            )
            notes(console, [f"{outside}{because}"])
        else:
            console.print(
                visible(f"For {label} {said.words} suggests itself.{because}"), style="dim"
            )


def _show_advice(console: Console, advice: Sequence[Advice]) -> None:
    heading(console, "Advice")
    for one in advice:
        notes(console, [one.text], style="red" if one.kind in _SERIOUS else "yellow")


def _unit_word(comparison: Comparison) -> str:
    return "of the base" if _on_base(comparison) else "of the strongest"


def _on_base(comparison: Comparison) -> bool:
    return comparison.ground is not None and bool(comparison.whole.base)


def _touched(comparison: Comparison, at: int) -> str:
    part = comparison.touched(at)
    return "" if part is None else percent(part)


def _relation(comparison: Comparison, pair: Pair) -> str:
    """In words; of one change and of relatives, whether the strengths set them against one another."""
    found = relation(comparison, pair.one, pair.other, given=True)
    if found == "nothing" and not pair.modules:
        return "no module in common"
    alike = found in ("same", "scaled", "relative")
    cosine = comparison.cosine(pair.one, pair.other) or 0.0
    nearly = (
        SENTENCES["nearly"]
        if found in ("same", "scaled") and abs(cosine) < LIMITS["the_same"]
        else ""
    )
    return f"{nearly}{_RELATIONS[found]}{', opposed' if alike and cosine < 0 else ''}"


def _part(size: float, unit: float) -> str:
    return percent(size / unit) if unit else ""


def _lost(comparison: Comparison, strengths: Sequence[float]) -> str:
    lost = comparison.lost(strengths)
    return "" if lost is None else f"{100 * lost:.1f} %"


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _times(angle: Angle | None) -> str:
    return "–" if angle is None else f"×{angle.times_chance:.1f}"
