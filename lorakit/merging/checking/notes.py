"""What to know of a comparison: what was left out, renumbered or compared apart."""

from __future__ import annotations

from collections.abc import Iterator

from lorakit.counting import counted_rows
from lorakit.formats import anima
from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.pairing import Part
from lorakit.merging.checking.thinning import MOST


def notes_on(comparison: Comparison) -> list[str]:
    """Sentences, each once, in the order of the entries."""
    found: list[str] = []
    if comparison.ground is None:
        found.append("There is no base, so sizes are relative to the strongest entry.")
    elif comparison.of_text:
        found.append(
            "They change the text encoder alone, which is no part of the base, so sizes are relative to "
            "the strongest entry."
        )
    for part in comparison.parts:
        found += _of_part(comparison, part)
    named = {
        base: part.label
        for part in comparison.parts
        if (base := part.adapter.report.info.base_model)
    }
    if len(named) > 1:
        said = "; ".join(f"{label} names {base}" for base, label in named.items())
        found.append(f"They were trained on different bases: {said}.")
    return found


def _of_part(comparison: Comparison, part: Part) -> Iterator[str]:
    label = part.label
    if not part.strength.base:
        yield f"{label} has strength 0 and changes nothing."
    if part.strength.is_scheduled:
        yield f"{label} holds in some denoising steps only; it is compared as it is in those."
    if part.missed:
        yield f"{label}: {', '.join(part.missed)} meets none of its modules and does nothing."
    for remark in part.strength.beside_root(module.name for module in part.adapter.report.modules):
        yield f"{label}: {remark}"
    if part.remapped:
        yield f"{label} was made for fewer blocks; its blocks are renumbered."
    if part.unmatched:
        yield (
            f"{label}: {_count(part.unmatched, 'module')} not in this base and left out, such as "
            f"{part.unmatched[0]}."
        )
    text = [name for name in part.matrices if anima.component_of(name) == "text_encoder"]
    if text and not comparison.of_text:
        yield (
            f"{label}: {_count(text, 'module')} of the text encoder, which is no part of the base; what is "
            "changed there is listed apart and not in the whole."
        )
    if part.vectors:
        yield (
            f"{label}: {part.vectors} norms and biases are changed too; vectors are not compared."
        )
    wide = [name for owner, name in comparison.measured.spread_out if owner == label]
    if wide:
        yield (
            f"{label}: the changes of {len(wide)} of {_modules(part.matrices)} are of full rank, or need more "
            f"than {MOST} directions or a quarter of all; outputs and inputs are not compared there."
        )
    left = [name for owner, name in comparison.measured.left_out if owner == label]
    if left:
        yield (
            f"{label}: {_count(left, 'module')} not compared, such as {left[0]}: what is done there depends "
            "on the base."
        )


def _modules(names: list[str]) -> str:
    return counted_rows(len(names), "module")


def _count(items: tuple[str, ...] | list[str], what: str) -> str:
    return f"1 {what} is" if len(items) == 1 else f"{len(items)} {what}s are"
