"""What to do about a stack, in sentences, each with the figures that it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorakit.formats import anima
from lorakit.merging.checking.balance import balanced, rounded, with_base
from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.relations import Place, places, relation
from lorakit.merging.checking.usual import Usual
from lorakit.merging.checking.wording import LIMITS, SENTENCES, figure, filled
from lorakit.strengths.text import number

_ONE_CHANGE = ("same", "scaled")
DTYPES = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}

Kind = Literal["refused", "same", "relative", "uneven", "apart", "together", "rounding", "range"]


@dataclass(frozen=True)
class Advice:
    """One sentence, whom it is about, and its figures by name."""

    kind: Kind
    text: str
    entries: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


def advise(comparison: Comparison, usual: Mapping[str, Usual] | None = None) -> list[Advice]:
    """Everything that is worth doing, what stops a stack first. `usual` is what suggests itself, by label.

    `lorakit/report/templates/check_advice.js` follows the same rules.
    """
    return [
        *refused(comparison),
        *_likenesses(comparison),
        *_uneven(comparison),
        *_meetings(comparison),
        *_rounding(comparison),
        *_ranges(comparison, usual or {}),
    ]


def refused(comparison: Comparison) -> Iterator[Advice]:
    """What cannot be stacked, and why."""
    for label, why in comparison.refused.items():
        yield Advice("refused", filled("refused", entry=label, why=why), (label,))


def _likenesses(comparison: Comparison) -> Iterator[Advice]:
    whole, labels = comparison.whole, comparison.labels
    for pair in comparison.pairs:
        found = relation(comparison, pair.one, pair.other)
        if found not in (*_ONE_CHANGE, "relative"):
            continue
        a, b = labels[pair.one], labels[pair.other]
        cosine = whole.cosine(pair.one, pair.other) or 0.0
        ratio = whole.size(pair.other, 1.0) / whole.size(pair.one, 1.0)
        figures = {"cosine_at_1": cosine, "size_ratio": ratio}
        if found == "relative":
            opposed = comparison.opposed(pair.one, pair.other)
            together = SENTENCES["taken_back" if opposed else "doubled"]
            text = filled("relative", a=a, b=b, cosine=figure(cosine, 2), together=together)
            yield Advice("relative", text, (a, b), figures)
            continue
        turned = ratio if cosine > 0 else -ratio
        alone = comparison.strengths[pair.one] + comparison.strengths[pair.other] * turned
        text = filled(
            found,
            a=a,
            b=b,
            nearly=SENTENCES["nearly"] if abs(cosine) < LIMITS["the_same"] else "",
            ratio=figure(turned, 2),
            cosine=figure(cosine, 4),
            together=_together(comparison, pair.one, alone),
        )
        yield Advice("same", text, (a, b), {**figures, "alone": alone})


def _together(comparison: Comparison, at: int, alone: float) -> str:
    if abs(alone) < LIMITS["nothing"]:
        return SENTENCES["cancel"]
    return filled("alone", a=comparison.labels[at], alone=_strength(comparison, at, rounded(alone)))


def _strength(comparison: Comparison, at: int, base: float) -> str:
    """Another base strength of an entry, with its refinements."""
    return str(with_base(comparison.parts[at].strength, base))


def _uneven(comparison: Comparison) -> Iterator[Advice]:
    """The strongest entry beside the weakest."""
    whole, strengths, labels = comparison.whole, comparison.strengths, comparison.labels
    sizes = {at: whole.size(at, w) for at, w in enumerate(strengths) if whole.size(at, w)}
    if len(sizes) < 2:
        return
    strong, weak = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    ratio = sizes[strong] / sizes[weak]
    if ratio < LIMITS["uneven"] or relation(comparison, *sorted((strong, weak))) in _ONE_CHANGE:
        return
    even = strengths[strong] / ratio
    parts = [comparison.relative(sizes[at]) for at in (strong, weak)]
    shown = [figure(100 * part, 2) for part in parts if part is not None]
    many = balanced(whole, strengths) if len(sizes) > 2 else None
    text = filled(
        "uneven",
        strong=labels[strong],
        weak=labels[weak],
        times=figure(ratio, 1) if ratio < 10 else figure(ratio, 0),
        beside=filled("beside", strong=shown[0], weak=shown[1]) if len(shown) == 2 else "",
        even=_strength(comparison, strong, rounded(even)),
        many=SENTENCES["many"] if many else "",
    )
    figures = {"ratio": ratio, "balancing_strength": even}
    yield Advice("uneven", text, (labels[strong], labels[weak]), figures)


def _meetings(comparison: Comparison) -> Iterator[Advice]:
    strengths = comparison.strengths
    found = _worth_a_word(comparison)
    for apart in (True, False):
        those = [one for one in found if (one.cosine(strengths) < 0) == apart]
        most = int(LIMITS["meetings"])
        for one in those[:most]:
            yield _of_place(comparison, one)
        if len(those) > most:
            doing = SENTENCES["apart" if apart else "together"]
            text = filled("more", count=str(len(those) - most), doing=doing)
            yield Advice("apart" if apart else "together", text, ())


def _worth_a_word(comparison: Comparison) -> list[Place]:
    """For each pair where it meets most, and where nearly as much: a fight in some blocks shows in every
    kind, and one in a kind in every block. A run over all blocks says less than the kinds."""
    strengths = comparison.strengths
    found = sorted(places(comparison), key=lambda one: -abs(one.effect(strengths)))
    by_kind = {_met(one, strengths) for one in found if one.where == "kinds"}
    kept: list[Place] = []
    most: dict[tuple[int, int, bool], float] = {}
    # The strongest come first.
    for one in found:
        pair = _met(one, strengths)
        if one.where == "blocks" and len(one.names) == len(comparison.blocks) and pair in by_kind:
            continue
        effect = abs(one.effect(strengths))
        least = LIMITS["nearly"] * most.setdefault(pair, effect)
        if effect >= max(LIMITS["effect"], least):
            kept.append(one)
    return kept


def _met(one: Place, strengths: Sequence[float]) -> tuple[int, int, bool]:
    """Who meets there, and whether they fight."""
    return one.one, one.other, one.cosine(strengths) < 0


def _of_place(comparison: Comparison, one: Place) -> Advice:
    strengths = comparison.strengths
    a, b = comparison.labels[one.one], comparison.labels[one.other]
    cosine, effect = one.cosine(strengths), one.effect(strengths)
    kind: Literal["apart", "together"] = "apart" if cosine < 0 else "together"
    text = filled(
        "meeting",
        a=a,
        b=b,
        doing=SENTENCES[kind],
        place=one.words,
        cosine=f"{'+' if cosine >= 0 else ''}{figure(cosine, 2)}",
        chance=figure(one.chance, 3),
        effect=figure(100 * abs(effect), 0),
        than=SENTENCES["smaller" if effect < 0 else "larger"],
    )
    if kind == "apart":
        text += _held_back(comparison, one)
    figures = {"cosine": cosine, "chance": one.chance, "effect": effect}
    return Advice(kind, text, (a, b), figures)


def _held_back(comparison: Comparison, one: Place) -> str:
    """How to hold the weaker of two back where they fight; nothing where its strength is refined already."""
    whole, strengths = comparison.whole, comparison.strengths
    weaker = min((one.one, one.other), key=lambda at: whole.size(at, strengths[at]))
    part = comparison.parts[weaker]
    if not part.strength.is_plain:
        return ""
    return filled(
        "held", entry=part.label, strength=number(part.strength.base), where=refinement(one)
    )


def refinement(one: Place) -> str:
    """A place as a stack writes it: `blocks=2-3`, `kinds=mlp`."""
    if one.where == "blocks":
        return f"blocks={'-'.join(dict.fromkeys((one.names[0], one.names[-1])))}"
    return f"{'components' if one.names[0] in anima.COMPONENTS else 'kinds'}={one.names[0]}"


def _rounding(comparison: Comparison) -> Iterator[Advice]:
    kept = None if comparison.ground is None else comparison.ground.kept
    if kept is None:
        return
    for at, (label, strength) in enumerate(
        zip(comparison.labels, comparison.strengths, strict=True)
    ):
        (found,) = rounded_away(comparison, at, [strength])
        if found is None:
            continue
        lost, finer = found
        text = filled(
            "rounding",
            entry=label,
            dtype=DTYPES[kept],
            lost=figure(100 * lost, 0),
            instead="" if finer is None else filled("finer", lost=figure(100 * finer, 0)),
        )
        yield Advice("rounding", text, (label,), {"lost": lost})


def rounded_away(
    comparison: Comparison, at: int, strengths: Sequence[float]
) -> list[tuple[float, float | None] | None]:
    """What rounding puts wrong of one entry at each strength, and what it would in fp16 instead of bf16;
    None where it is not worth a word or not known."""
    count, ground = len(comparison.parts), comparison.ground
    alone = [[w if place == at else 0.0 for place in range(count)] for w in strengths]
    found = comparison.losses(alone)
    in_fp16 = ground is not None and ground.kept == "BF16"
    finer = comparison.losses(alone, "F16") if in_fp16 else [None] * len(alone)
    return [
        None if lost is None or lost < LIMITS["rough"] else (lost, other)
        for lost, other in zip(found, finer, strict=True)
    ]


def _ranges(comparison: Comparison, usual: Mapping[str, Usual]) -> Iterator[Advice]:
    for label, strength in zip(comparison.labels, comparison.strengths, strict=True):
        said = usual.get(label)
        if said is not None and said.excludes(strength):
            text = filled(
                "range",
                entry=label,
                strength=number(strength),
                usual=said.words,
                because=f" {said.because[0]}" if said.because else "",
            )
            yield Advice("range", text, (label,), {"strength": strength})
