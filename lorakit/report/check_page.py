"""The page of `lorakit check`: a slider for each adapter, and everything worked out anew from Gram matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorakit.counting import counted_rows
from lorakit.merging.checking.balance import balanced, with_base
from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.grouping import Group
from lorakit.merging.checking.notes import notes_on
from lorakit.merging.checking.usual import Usual
from lorakit.report.check_rules import advice_rules
from lorakit.report.pages import fill_page
from lorakit.stack import Entry

# Sliders reach from minus to plus this, or as far as twice the strength that was given.
_REACH = 2.0
_DIGITS = 9


def check_page(
    comparison: Comparison,
    usual: Mapping[str, Usual] | None = None,
    *,
    base: str | None = None,
) -> str:
    """The page as HTML, complete in itself; `usual` is what the catalog says of strengths, by label."""
    ground, said = comparison.ground, usual or {}
    found = balanced(comparison.whole, comparison.strengths)
    where = None if ground is None else base or ground.modules.label
    return fill_page(
        "check.html.j2",
        ("page.css", "check.css"),
        ("check_advice.js", "check.js"),
        title=f"Check on {where}" if where else "Check",
        about=_about(comparison),
        entries=[_entry(comparison, at, said) for at in range(len(comparison.parts))],
        can_balance=found is not None,
        notes=notes_on(comparison),
        on_base=comparison.whole.base is not None,
        data={
            "entries": [_words(comparison, at) for at in range(len(comparison.parts))],
            "strengths": comparison.strengths,
            "balanced": None if found is None else found.strengths,
            "all": _group(comparison.whole),
            "kinds": _groups(comparison.kinds),
            "blocks": _groups(comparison.blocks),
            "rules": advice_rules(
                comparison,
                said,
                [_reach(part.strength.base) for part in comparison.parts],
                _DIGITS,
            ),
        },
    )


def _about(comparison: Comparison) -> str:
    adapters = counted_rows(len(comparison.parts), "adapter")
    count = comparison.whole.modules
    modules = "1 matrix changed" if count == 1 else f"{count:,} matrices changed"
    ground = comparison.ground
    if ground is None:
        return f"{adapters}, {modules}; sizes are relative to the strongest as given."
    return (
        f"{adapters}, {modules}, {counted_rows(ground.modules.blocks, 'block')}, {ground.stored}."
    )


def _entry(comparison: Comparison, at: int, usual: Mapping[str, Usual]) -> dict[str, Any]:
    part = comparison.parts[at]
    strength = part.strength.base
    said = usual.get(part.label)
    return {
        "label": part.label,
        "algos": ", ".join(part.adapter.report.algos),
        "refined": "" if part.strength.is_plain else str(part.strength).partition("@")[2],
        "strength": strength,
        "reach": _reach(strength),
        "usual": f"{said.words} suggests itself" if said is not None else "",
        "because": " ".join(said.because) if said is not None else "",
    }


def _reach(strength: float) -> float:
    return max(_REACH, 2 * abs(strength))


def _words(comparison: Comparison, at: int) -> dict[str, str]:
    """What stands before and behind the number in a stack."""
    part = comparison.parts[at]
    unit = with_base(part.strength, 1.0 if part.strength.is_plain else part.strength.base)
    whole, number = str(Entry(part.name, unit)), str(unit)
    refined = number.partition("@")[1] + number.partition("@")[2]
    return {"label": part.label, "before": whole[: len(whole) - len(number)], "behind": refined}


def _groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [_group(one) for one in groups]


def _group(one: Group) -> dict[str, Any]:
    """Nine digits are more than a screen shows and keep the page of eight adapters small."""
    gram = [[float(f"{value:.{_DIGITS}g}") for value in row] for row in one.gram]
    return {"name": one.name, "gram": gram, "base": one.base, "modules": one.modules}
