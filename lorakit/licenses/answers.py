"""The four questions a person has of a stack or a file, each answered in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lorakit.licenses.policy import Ingredient, Verdict
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
    """An obligation without the text that it quotes."""
    head, _, _ = obligation.partition(': "')
    return f"{head.rstrip('.')}."


def _render(verdict: Verdict) -> Answer:
    limits = dict.fromkeys(part.terms.use for part in verdict.parts if part.terms.use)
    why = " ".join(("on your own machine, since rendering shares no weights.", *limits))
    return Answer("render", "yes", why)


def _pictures(verdict: Verdict) -> Answer:
    speaking = [part for part in verdict.parts if part.terms.share_pictures is not None]
    silent = [one.name for one in verdict.ingredients if one.terms.share_pictures is None]
    aside = f" Nothing is on record for {', '.join(silent)}." if silent else ""
    if not speaking:
        return Answer("share pictures", "not settled", f"no term here speaks of pictures.{aside}")
    share = strictest(s for p in speaking if (s := p.terms.share_pictures) is not None)
    include = _each(o for part in speaking for o in part.terms.picture_obligations)
    deciding = _each(_picture_reason(p) for p in speaking if p.terms.share_pictures == share)
    outcome = {
        ShareMerges.DENY: "no",
        ShareMerges.UNKNOWN: "not settled",
        ShareMerges.ALLOW_WITH_OBLIGATIONS: "yes, under conditions",
    }.get(share, "yes")
    return Answer("share pictures", outcome, " ".join(deciding) + aside, include)


def _picture_reason(part: Ingredient) -> str:
    terms = part.terms
    return f"{terms.title}: {terms.pictures_statement} [{terms.cited}]"


def _merge(verdict: Verdict) -> Answer:
    if verdict.allowed:
        count = len(verdict.obligations)
        extra = f", with {count} obligation{'s' if count > 1 else ''}" if count else ""
        return Answer(
            "share merge", f"allowed{extra}", " ".join(verdict.reasons), verdict.obligations
        )
    unknown = verdict.share_merges is ShareMerges.UNKNOWN
    outcome = "unknown, so denied" if unknown else "denied"
    why = " ".join(verdict.reasons) or "nothing is known of what is in it."
    return Answer("share merge", outcome, why)


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
