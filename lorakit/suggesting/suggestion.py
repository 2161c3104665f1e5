"""The range of strengths that suggests itself for an adapter, with what speaks for it.

What the person has said or done goes first, then what other programs and cards say, and the size of the
adapter's change beside that of others last. Nothing is suggested where nothing speaks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Literal

from lorakit.catalog.fields import USER, called
from lorakit.catalog.measured import DeltaSize
from lorakit.preview.ab.tally import SIGNIFICANT, sign_test
from lorakit.suggesting.sources import Sources

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord

Kind = Literal["yours", "kept stack", "votes", "program", "size"]

# A median of fewer says little.
FEWEST = 5
_WELL_RATED = 4
# From size alone nothing is suggested beyond this: what is weak was often meant to be.
_MOST_BY_SIZE = 1.5


@dataclass(frozen=True)
class Evidence:
    """One thing that speaks for strengths, in a sentence.

    `value` is the strength that it speaks for, None where it cannot tell; `low` and `high` bound it. `source`
    is who says so where others do, as facts name it.
    """

    kind: Kind
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Suggestion:
    """`value` within `low` to `high`, told by the evidence of one kind; all None where nothing tells.

    `evidence` is everything there is, also what goes against it. `size` is how much the adapter changes
    `base` at strength 1, None where it was not measured.
    """

    value: float | None
    low: float | None
    high: float | None
    by: Kind | None
    evidence: tuple[Evidence, ...]
    base: str | None
    size: DeltaSize | None

    @property
    def reason(self) -> Evidence | None:
        """The first of the evidence that decided; None where nothing did."""
        return next((one for one in self.evidence if one.kind == self.by), None)

    @property
    def text(self) -> str:
        """`0.6 (0.5 to 0.8)`, and "" where nothing is suggested."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        span = f" ({self.low:g} to {self.high:g})" if self.low < self.high else ""
        return f"{self.value:g}{span}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def suggest(sources: Sources, record: AdapterRecord) -> Suggestion:
    """What speaks for which strength of an adapter."""
    content = record.tensor_sha256
    evidence = (
        *_said(sources, content),
        *_kept(sources, record),
        *_voted(sources, record),
        *_measured(sources, content),
    )
    by, value, low, high = _range(evidence)
    size = sources.sizes.get(content)
    return Suggestion(value, low, high, by, evidence, sources.base, size)


def _range(
    evidence: Sequence[Evidence],
) -> tuple[Kind | None, float | None, float | None, float | None]:
    """The strongest word, and the range that it and what is of its rank span."""
    own = [
        e for e in evidence if e.kind in ("yours", "kept stack", "votes") and e.value is not None
    ]
    first = own[0] if own else next((e for e in evidence if e.value is not None), None)
    if first is None or first.value is None:
        return None, None, None, None
    stated = first.low is not None or first.high is not None
    counted = own if own and not stated else [first]
    bounds = [b for e in counted for b in (e.low, e.value, e.high) if b is not None]
    values = [e.value for e in counted if e.value is not None]
    value = first.value if first.kind in ("yours", "program", "size") else median(values)
    return first.kind, round(value, 3), min(bounds), max(bounds)


def _said(sources: Sources, content: str) -> list[Evidence]:
    """The person's own default strength, and what programs and cards say."""
    found = []
    for said in sources.facts.get(content, {}).get("strength", ()):
        value, low, high = (said.value.get(key) for key in ("value", "min", "max"))
        span = f", from {low:g} to {high:g}" if low is not None and high is not None else ""
        if said.source == USER:
            found.append(Evidence("yours", f"You set {value:g}{span}.", value, low, high))
        else:
            name = called(said.source)
            text = f"{name[0].upper()}{name[1:]} says {value:g}{span}."
            found.append(Evidence("program", text, value, low, high, said.source))
    return sorted(found, key=lambda one: one.kind != "yours")


def _kept(sources: Sources, record: AdapterRecord) -> list[Evidence]:
    return [
        Evidence("kept stack", f"Your stack {use.stack} has it at {use.strength:g}.", use.strength)
        for use in sources.kept
        if use.is_of(record)
    ]


def _voted(sources: Sources, record: AdapterRecord) -> list[Evidence]:
    """Votes between two strengths of it; those that do not tell are said and speak for none."""
    found = []
    for duel in sources.duels:
        if duel.adapter != record.file_sha256:
            continue
        ahead = 0 if duel.votes[0] >= duel.votes[1] else 1
        better, worse = duel.strengths[ahead], duel.strengths[1 - ahead]
        share = f"{duel.votes[ahead]} of {sum(duel.votes)} pairs"
        chance = sign_test(*duel.votes)
        if chance <= SIGNIFICANT:
            text = f"You preferred {better:g} to {worse:g} in {share} (p = {chance:.2g})."
            found.append(Evidence("votes", text, better))
        else:
            text = f"Your votes cannot tell {better:g} from {worse:g}: {share} (p = {chance:.2g})."
            found.append(Evidence("votes", text))
    return found


def _measured(sources: Sources, content: str) -> list[Evidence]:
    """The size of its change beside that of the others, at the strengths they are used at."""
    size = sources.sizes.get(content)
    if size is None or not size.overall:
        return []
    change = f"At 1 it changes {sources.base} by {size.overall:.2%}."
    measured = [one for one in sources.sizes if one != content and sources.sizes[one].overall]
    # A copy is as large as it was made: that says nothing of what others do.
    others = [one for one in measured if one not in sources.copies.get(content, ())]
    aside = _left_out(len(measured) - len(others))
    liked = [one for one in others if sources.rating(one) >= _WELL_RATED]
    rated = len(liked) >= FEWEST
    group, which = (liked, "adapters rated 4 or 5") if rated else (others, "other adapters")
    if len(group) < FEWEST:
        text = f"{change} A strength by size needs {FEWEST} other adapters that are measured; "
        return [Evidence("size", f"{text}{_there_are(len(group))}.{aside}")]
    used = any(sources.usual(one) != 1 for one in group)
    effects = [sources.sizes[one].overall * abs(sources.usual(one)) for one in group]
    quarter, middle, three = (q / size.overall for q in quantiles(effects, n=4))
    text = (
        f"{change} At {_round(middle):g} it would do as much as the median of your {len(group):,} "
        f"{which} at {'the strengths you set, else 1' if used else '1'}, and from {_round(quarter):g} "
        f"to {_round(three):g} as much as the middle half of them.{aside}"
    )
    low, value, high = (min(_round(one), _MOST_BY_SIZE) for one in (quarter, middle, three))
    return [Evidence("size", text, value, low, high)]


def _left_out(copies: int) -> str:
    """What is said, after a sentence, of others that are the adapter itself in another form."""
    return f" Not counted: {copies:,} with nearly the same weights as it." if copies else ""


def _there_are(count: int) -> str:
    return "there is 1" if count == 1 else f"there are {count or 'none'}"


def _round(value: float) -> float:
    """To a twentieth, as strengths are set; what is less than one of them to two digits."""
    return round(value * 20) / 20 if value >= 0.05 else float(f"{value:.2g}")
