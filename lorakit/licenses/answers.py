"""The four questions a person has of a stack or a file, each answered in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lorakit.counting import counted_rows
from lorakit.licenses.policy import Verdict
from lorakit.licenses.terms import ShareMerges, strictest


@dataclass(frozen=True)
class Answer:
    """One answer: `outcome` in a word or two, `why` with the claim that decides, its source and date.

    `include` is what must accompany what is shared, each in full.
    """

    question: str
    outcome: str
    why: str
    include: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.outcome}: {self.why}" if self.why else self.outcome


def answers(verdict: Verdict) -> tuple[Answer, ...]:
    """May it be rendered, may pictures be shared, may a merge be shared, and what must go with them."""
    pictures, merge = _pictures(verdict), _merge(verdict)
    return _render(verdict), pictures, merge, _include(pictures, merge)


def brief(obligation: str) -> str:
    """An obligation in few words, without the text that it quotes."""
    head, _, quoted = obligation.partition(': "')
    words = quoted.split()
    return f'{head} "{" ".join(words[:4])} ...".' if words else obligation


def _render(verdict: Verdict) -> Answer:
    limits = _each(part.terms.use for part in verdict.parts if part.terms.use)
    return Answer("render", "yes", " ".join(("rendering shares no weights.", *limits)))


def _pictures(verdict: Verdict) -> Answer:
    speaking = [part.terms for part in verdict.parts if part.terms.share_pictures is not None]
    silent = _each(one.name for one in verdict.ingredients if one.terms.share_pictures is None)
    aside = (
        f" Of pictures nothing is on record for {', '.join(silent)}." if silent and speaking else ""
    )
    if not speaking:
        return Answer("share pictures", "not settled", "no term on record speaks of pictures.")
    share = strictest(t.share_pictures for t in speaking if t.share_pictures is not None)
    outcome = {
        ShareMerges.DENY: "no",
        ShareMerges.UNKNOWN: "not settled",
        ShareMerges.ALLOW_WITH_OBLIGATIONS: "yes, under conditions",
    }.get(share, "yes")
    reasons = _each(
        f"{terms.pictures_statement} [{terms.pictures_source or terms.cited}]"
        for terms in speaking
        if terms.share_pictures == share
    )
    include = _each(o for terms in speaking for o in terms.picture_obligations)
    return Answer("share pictures", outcome, f"{_first(reasons)}{aside}", include)


def _merge(verdict: Verdict) -> Answer:
    if not verdict.allowed:
        unknown = verdict.share_merges is ShareMerges.UNKNOWN
        outcome = "unknown, so denied" if unknown else "denied"
        why = " ".join(verdict.reasons) or "nothing is known of what is in it."
        return Answer("share merge", outcome, why)
    count = len(verdict.obligations)
    extra = f", with {counted_rows(count, 'obligation')}" if count else ""
    reasons = _each(f"{part.terms.title} [{part.terms.cited}]" for part in verdict.deciding)
    why = f"under the terms of {_first(reasons)}."
    return Answer("share merge", f"allowed{extra}", why, verdict.obligations)


def _first(reasons: Sequence[str]) -> str:
    """The first reason, and how many there are beside it: each of them would do."""
    more = len(reasons) - 1
    return reasons[0] + (f" and {more} more" if more else "")


def _include(pictures: Answer, merge: Answer) -> Answer:
    """What must accompany pictures, and the merge where it may be shared."""
    parts = []
    if merge.include:
        parts.append("with the merge: " + " ".join(map(brief, merge.include)))
    if pictures.include:
        parts.append("with pictures: " + " ".join(map(brief, pictures.include)))
    everything = _each((*merge.include, *pictures.include))
    return Answer("must include", " ".join(parts) or "nothing", "", everything)


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
