"""How terms are shown: the four answers, the claims behind them, and what they differ in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.licenses.answers import Answer
    from lorakit.licenses.claims import Claim
    from lorakit.licenses.dossier import Dossier
    from lorakit.licenses.policy import Verdict

_WORDS = {
    "allow": "yes",
    "allow_with_obligations": "yes, with obligations",
    "unknown": "not known",
    "deny": "no",
}


def answers_document(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The answers as JSON takes them."""
    return [
        {
            "question": one.question,
            "answer": one.outcome,
            "why": one.why,
            "include": list(one.include),
        }
        for one in answers
    ]


def dossier_document(dossier: Dossier, answers: Sequence[Answer]) -> dict[str, Any]:
    """A dossier as JSON takes it."""
    verdict = dossier.verdict
    return {
        **dossier.ingredient().to_dict(),
        "answers": answers_document(answers),
        "share_merges": str(verdict.share_merges),
        "allowed": verdict.allowed,
        "reasons": list(verdict.reasons),
        "obligations": list(verdict.obligations),
        "conflicts": list(dossier.conflicts),
        "notes": list(dossier.notes),
    }


def answer_rows(answers: Sequence[Answer]) -> list[tuple[str, str]]:
    """Question and answer, as rows of facts."""
    return [(answer.question, str(answer)) for answer in answers]


def show_answers(console: Console, answers: Sequence[Answer]) -> None:
    """One row an answer."""
    from lorakit.cli.render import facts

    facts(console, answer_rows(answers))


def show_dossier(console: Console, dossier: Dossier, answers: Sequence[Answer]) -> None:
    """Everything known of one subject's terms, for a person."""
    from lorakit.cli.render import heading, notes, rows

    heading(console, dossier.name, dossier.role)
    show_answers(console, answers)
    console.print()
    if dossier.claims:
        rows(
            console,
            ("said by", "share merges", "terms", "where it stands", "read"),
            [_row(claim) for claim in dossier.claims],
        )
    else:
        console.print("Nothing is said of its terms, in the file, beside it or in the catalog.")
    made = list(_ancestry(dossier))
    if made:
        console.print()
        rows(console, ("what counts beside", "share merges"), made)
    notes(console, (*dossier.conflicts, *dossier.notes))
    show_obligations(console, dossier.verdict)


def show_obligations(console: Console, verdict: Verdict) -> None:
    """Each obligation in full, where a merge may be shared at all."""
    if not (verdict.allowed and verdict.obligations):
        return
    from lorakit.cli.render import facts

    console.print()
    console.print("Whoever shares a merge of it must:")
    facts(console, [(str(n), text) for n, text in enumerate(verdict.obligations, start=1)])


def _row(claim: Claim) -> tuple[str, ...]:
    terms = claim.terms
    read = terms.read_on.isoformat() if terms.read_on else ""
    where = claim.where if claim.where == terms.source else f"{claim.where}: {terms.source}"
    return claim.origin, _WORDS[terms.share_merges], terms.title, where, read


def _ancestry(dossier: Dossier) -> Iterator[tuple[str, str]]:
    """What the subject was made from, each once."""
    seen: set[str] = set()
    for above, one in _pairs(dossier):
        relation = one.relation or f"was made from {one.name}"
        if one.name not in seen:
            yield f"{above.name} {relation}", _WORDS[one.own_terms.share_merges]
        seen.add(one.name)


def _pairs(dossier: Dossier) -> Iterator[tuple[Dossier, Dossier]]:
    for one in dossier.ancestors:
        yield dossier, one
        yield from _pairs(one)
