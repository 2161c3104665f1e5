"""What to do about a stack, in sentences, each with the figures that it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorakit.formats import anima
from lorakit.merging.checking.balance import balanced, rounded
from lorakit.merging.checking.comparing import Comparison
from lorakit.merging.checking.relations import Meeting, meetings, relation
from lorakit.strengths.text import number

# From this ratio of sizes on one entry is said to drown another.
UNEVEN = 1.5
# From this part of a change on, what rounding puts wrong is worth a word.
_ROUGH = 0.1
_MOST_MEETINGS = 3
# Below this a sum that is larger or smaller is not worth a word.
_LEAST_EFFECT = 0.02
_NEARLY = 0.5
_DTYPES = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}

Kind = Literal["refused", "same", "relative", "uneven", "apart", "together", "rounding", "range"]


@dataclass(frozen=True)
class Usual:
    """The strength at which an adapter is said to work, and from where to where, by the catalog."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def excludes(self, strength: float) -> bool:
        """Whether a strength lies outside the range."""
        low, high = self.low, self.high
        return (low is not None and strength < low) or (high is not None and strength > high)

    @property
    def words(self) -> str:
        """The range in words."""
        if self.low is not None and self.high is not None:
            return f"from {number(self.low)} to {number(self.high)}"
        if self.low is not None:
            return f"from {number(self.low)} on"
        return f"up to {number(self.high or 0.0)}"


@dataclass(frozen=True)
class Advice:
    """One sentence, whom it is about, and its figures by name."""

    kind: Kind
    text: str
    entries: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


def advise(comparison: Comparison, usual: Mapping[str, Usual] | None = None) -> list[Advice]:
    """Everything that is worth doing, what stops a stack first. `usual` is what the catalog says, by label."""
    return [
        *_refused(comparison),
        *_likenesses(comparison),
        *_uneven(comparison),
        *_meeting_advice(comparison),
        *_rounding(comparison),
        *_ranges(comparison, usual or {}),
    ]


def _refused(comparison: Comparison) -> Iterator[Advice]:
    for label, why in comparison.refused.items():
        yield Advice("refused", f"{label} cannot be stacked: {why}", (label,))


def _likenesses(comparison: Comparison) -> Iterator[Advice]:
    whole, strengths = comparison.whole, comparison.strengths
    for pair in comparison.pairs:
        one, other = pair.one, pair.other
        found = relation(comparison, one, other)
        if found not in ("same", "scaled", "relative"):
            continue
        a, b = comparison.labels[one], comparison.labels[other]
        cosine = whole.cosine(one, other) or 0.0
        ratio = whole.size(other, 1.0) / whole.size(one, 1.0)
        figures = {"cosine": cosine, "size_ratio": ratio}
        if found == "relative":
            text = (
                f"{b} is much the same change as {a} (cosine {cosine:.2f}): resized, trained further or a "
                "merge of it. Both together do little that one of them does not do alone."
            )
            yield Advice("relative", text, (a, b), figures)
            continue
        alone = strengths[one] + strengths[other] * ratio * (1 if cosine > 0 else -1)
        again = "again" if found == "same" else f"again, {_signed(cosine, ratio)} times its size"
        text = (
            f"{b} is {a} {again} (cosine {cosine:.4f}): together they are {a}:{number(rounded(alone))} "
            "alone."
        )
        yield Advice("same", text, (a, b), {**figures, "alone": alone})


def _signed(cosine: float, ratio: float) -> str:
    return f"{ratio if cosine > 0 else -ratio:.2f}"


def _uneven(comparison: Comparison) -> Iterator[Advice]:
    """The strongest entry beside the weakest."""
    whole, strengths = comparison.whole, comparison.strengths
    sizes = {at: whole.size(at, w) for at, w in enumerate(strengths) if whole.size(at, w)}
    if len(sizes) < 2:
        return
    strong, weak = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    ratio = sizes[strong] / sizes[weak]
    if ratio < UNEVEN or relation(comparison, *sorted((strong, weak))) in ("same", "scaled"):
        return
    a, b = comparison.labels[strong], comparison.labels[weak]
    even = strengths[strong] / ratio
    beside = [comparison.relative(sizes[at]) for at in (strong, weak)]
    of_base = (
        f" ({100 * beside[0]:.2f} % and {100 * beside[1]:.2f} % of the base)"
        if beside[0] is not None and beside[1] is not None
        else ""
    )
    text = f"{a} is {_times(ratio)} as strong as {b}{of_base}: {a}:{number(rounded(even))} balances them"
    many = balanced(whole, strengths) if len(sizes) > 2 else None
    text += ", and --balance all of them." if many else "."
    yield Advice("uneven", text, (a, b), {"ratio": ratio, "balancing_strength": even})


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def _meeting_advice(comparison: Comparison) -> Iterator[Advice]:
    found = _worth_a_word(comparison, meetings(comparison))
    for fight in (True, False):
        those = [one for one in found if one.apart == fight]
        for one in those[:_MOST_MEETINGS]:
            yield _of_meeting(comparison, one)
        more = len(those) - _MOST_MEETINGS
        if more > 0:
            what = "pull against one another" if fight else "pull the same way"
            text = f"There are {more} more places where two entries {what} (--json lists all)."
            yield Advice("apart" if fight else "together", text, ())


def _worth_a_word(comparison: Comparison, found: Sequence[Meeting]) -> list[Meeting]:
    """For each pair where it meets most, and where nearly as much: a fight in some blocks shows in every
    kind, and one in a kind in every block. A run over all blocks says less than the kinds."""
    by_kind = {(one.one, one.other, one.apart) for one in found if one.where == "kinds"}
    kept: list[Meeting] = []
    most: dict[tuple[int, int, bool], float] = {}
    # The strongest come first.
    for one in found:
        pair = (one.one, one.other, one.apart)
        if one.where == "blocks" and len(one.names) == len(comparison.blocks) and pair in by_kind:
            continue
        effect = abs(one.effect)
        if effect >= max(_LEAST_EFFECT, _NEARLY * most.setdefault(pair, effect)):
            kept.append(one)
    return kept


def _of_meeting(comparison: Comparison, one: Meeting) -> Advice:
    a, b = comparison.labels[one.one], comparison.labels[one.other]
    place = place_words(one)
    change = f"{100 * abs(one.effect):.0f} % {'smaller' if one.effect < 0 else 'larger'}"
    figures = f"cosine {one.cosine:+.2f}, strangers ±{one.chance:.3f}"
    doing = "pull against one another" if one.apart else "pull the same way"
    text = (
        f"{a} and {b} {doing} in {place} ({figures}): their sum there is {change} than that of two "
        "with nothing in common."
    )
    if one.apart:
        text += _held_back(comparison, one)
    return Advice(
        "apart" if one.apart else "together",
        text,
        (a, b),
        {"cosine": one.cosine, "chance": one.chance, "effect": one.effect},
    )


def _held_back(comparison: Comparison, one: Meeting) -> str:
    """How to hold the weaker of two back where they fight; nothing where its strength is refined already."""
    whole, strengths = comparison.whole, comparison.strengths
    weaker = min((one.one, one.other), key=lambda at: whole.size(at, strengths[at]))
    part = comparison.parts[weaker]
    if not part.strength.is_plain:
        return ""
    if one.where == "blocks":
        where = f"blocks={'-'.join(dict.fromkeys((one.names[0], one.names[-1])))}"
    else:
        where = f"{'components' if one.names[0] in anima.COMPONENTS else 'kinds'}={one.names[0]}"
    return f" {part.label}:{part.strength}@{where}:0.5 would hold {part.label} back there."


def place_words(one: Meeting) -> str:
    """Where two entries meet: `blocks 10-14`, or `mlp`."""
    if one.where == "kinds":
        return one.names[0]
    if len(one.names) == 1:
        return f"block {one.names[0]}"
    return f"blocks {one.names[0]}-{one.names[-1]}"


def _rounding(comparison: Comparison) -> Iterator[Advice]:
    ground = comparison.ground
    if ground is None or ground.kept is None:
        return
    dtype = _DTYPES[ground.kept]
    for at, (label, strength) in enumerate(
        zip(comparison.labels, comparison.strengths, strict=True)
    ):
        alone = [strength if place == at else 0.0 for place in range(len(comparison.parts))]
        lost = comparison.lost(alone)
        if lost is None or lost < _ROUGH:
            continue
        finer = comparison.lost(alone, "F16") if ground.kept == "BF16" else None
        instead = f"; fp16 would put {100 * finer:.0f} % wrong" if finer is not None else ""
        text = (
            f"{label} is small beside the base: rounding to {dtype} will put {100 * lost:.0f} % of its change "
            f"wrong{instead} (predicted)."
        )
        yield Advice("rounding", text, (label,), {"lost": lost})


def _ranges(comparison: Comparison, usual: Mapping[str, Usual]) -> Iterator[Advice]:
    for label, strength in zip(comparison.labels, comparison.strengths, strict=True):
        said = usual.get(label)
        if said is not None and said.excludes(strength):
            text = f"{label} is said to work {said.words}, and stands at {number(strength)}."
            yield Advice("range", text, (label,), {"strength": strength})
