"""Evidence: what one file says of its terms and its making, before it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lorakit.formats.metadata import TrainingInfo
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.known import by_name, known, mentioned
from lorakit.licenses.lineage import header_ancestors, model_claim
from lorakit.licenses.policy import SAME_WORK
from lorakit.licenses.spdx import identifier, identifiers, license_terms
from lorakit.licenses.terms import ShareMerges, Terms

# The title of terms that add nothing to those of a subject's recorded ingredients.
A_MERGE = "a merge"


@dataclass(frozen=True)
class Evidence:
    """Claims about the subject itself, what it was made from, and things to know.

    `problems` are files that should have said something and could not be read.
    """

    claims: tuple[Claim, ...] = ()
    ancestors: tuple[Dossier, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            (*self.claims, *other.claims),
            (*self.ancestors, *other.ancestors),
            (*self.notes, *other.notes),
            (*self.problems, *other.problems),
        )


def header_evidence(
    metadata: Mapping[str, str], info: TrainingInfo, path: Path, *, adapter: bool
) -> Evidence:
    """What a header says: its licence, what it was merged from, and the known model it is called."""
    claims = []
    where = f"the header of {path.name}"
    ancestors = header_ancestors(metadata, path.name)
    if info.license:
        source, today = f"modelspec.license in {where}", date.today()
        repeats = _repeats(info.license, ancestors)
        terms = (_of_its_parts if repeats else license_terms)(info.license, source, today)
        claims.append(Claim("modelspec", terms))
    elif any(ancestor.relation.startswith(SAME_WORK) for ancestor in ancestors):
        terms = _of_its_parts("", f"lorakit.ingredients in {where}", date.today())
        claims.append(Claim("modelspec", terms))
    claims += _titled(info.title, where, adapter=adapter)
    return Evidence(tuple(claims), ancestors)


def _of_its_parts(license: str, source: str, read_on: date) -> Terms:
    """The terms of a merge beside those of its recorded ingredients: nothing of its own."""
    statement = (
        "Its licences are those of the ingredients that its header records, and theirs decide."
    )
    return Terms(A_MERGE, ShareMerges.ALLOW, statement, source, read_on)


def _repeats(license: str, ancestors: Sequence[Dossier]) -> bool:
    """Whether a licence is no more than those of the ingredients that stand in the same header.

    That is what lorakit writes for a merge. An ingredient whose terms have no SPDX identifier goes by
    a made-up one, which says less than its recorded terms.
    """
    recorded = [
        claim.terms
        for ancestor in ancestors
        for one in ancestor.everyone()
        for claim in one.claims
        if claim.origin == "ancestor"
    ]
    there = frozenset(name for terms in recorded for name in identifiers(identifier(terms)))
    return bool(recorded) and identifiers(license) <= there


def named_claims(path: Path, *, adapter: bool) -> tuple[Claim, ...]:
    """The claim that a file is the known model under whose published name it lies.

    Only for models that deny, as anybody may give a file any name; and never kept, as it may be changed.
    """
    key = by_name(path.stem, adapter=adapter)
    return (model_claim(key, f"the file's name, {path.name!r}"),) if key else ()


def _titled(title: str | None, where: str, *, adapter: bool) -> list[Claim]:
    """Claims that make the terms stricter, for a title that names a model that denies."""
    published = by_name(title, adapter=adapter)
    if published is not None:
        return [model_claim(published, f"the title {title!r} in {where}")]
    for key in mentioned(title):
        model = known()[key].terms
        terms = Terms(
            f"names {model.title}",
            ShareMerges.UNKNOWN,
            f"Its title, {title!r}, names {model.title}; whether it holds weights of it the name does "
            "not say.",
            f"the title in {where}",
            date.today(),
        )
        return [Claim("modelspec", terms)]
    return []
