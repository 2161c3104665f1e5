"""What a person says of a subject's terms: made, kept and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile, BadUsage
from lorakit.licenses.beside import Subject, answer_evidence, card_evidence
from lorakit.licenses.claims import Claim
from lorakit.licenses.keeping import keep
from lorakit.licenses.known import known
from lorakit.licenses.spdx import license_terms
from lorakit.licenses.terms import ShareMerges, Terms, strictest

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

# What tells a claim that a person took from a file from one that stood in a file beside the subject.
_BY_HAND = ", given by hand"


@dataclass(frozen=True)
class Saying:
    """What a person wants to put on record; everything but the source may be left out."""

    source: str
    share_merges: ShareMerges | None = None
    license: str | None = None
    statement: str | None = None
    obligations: tuple[str, ...] = ()
    credit: bool = False
    model: str | None = None
    share_pictures: ShareMerges | None = None


def say(name: str, saying: Saying) -> Claim:
    """The claim that `saying` makes of the subject called `name`.

    Raises `BadUsage` for one without a source, one that says nothing, and one that contradicts the
    licence or the model it names.
    """
    if not saying.source.strip():
        raise BadUsage("A claim needs its source.", hint="--source says where the terms stand.")
    if saying.model is not None and saying.model not in known():
        raise BadUsage(
            f"{saying.model!r} is not a known model.", hint=f"Known are: {', '.join(known())}."
        )
    named = _named(saying)
    if named is None and saying.share_merges is None:
        unknown = (
            f"The licence {saying.license!r} is not known here, and n" if saying.license else "N"
        )
        raise BadUsage(
            f"{unknown}othing else says whether merges may be shared.",
            hint="Give --share-merges, or --license, --as or --from, which settle it.",
        )
    share = saying.share_merges or (named.share_merges if named else ShareMerges.UNKNOWN)
    if named is not None and strictest([share, named.share_merges]) != share:
        raise BadUsage(
            f"{named.title} does not allow that: {named.statement}",
            hint=f"Its terms are {named.share_merges}; leave --share-merges out to take them.",
        )
    return Claim("user", _terms(name, saying, share, named), saying.model)


def _named(saying: Saying) -> Terms | None:
    """The terms of the model or licence that is named."""
    if saying.model is not None:
        return known()[saying.model].terms
    if saying.license is None:
        return None
    terms = license_terms(saying.license, saying.source)
    # A licence that is not known leaves it to the person to say what it allows.
    return terms if terms.share_merges is not ShareMerges.UNKNOWN else None


def _terms(name: str, saying: Saying, share: ShareMerges, named: Terms | None) -> Terms:
    credits = (f"Credit the author of {name}.",) if saying.credit else ()
    duties = (*(named.obligations if named else ()), *saying.obligations, *credits)
    if share is ShareMerges.ALLOW and duties:
        share = ShareMerges.ALLOW_WITH_OBLIGATIONS
    if share is ShareMerges.ALLOW_WITH_OBLIGATIONS and not duties:
        raise BadUsage(
            "The obligations are not named.",
            hint="Name each with --obligation TEXT, or give --credit; without any, it is "
            "--share-merges allow.",
        )
    start = named or Terms("a claim of the catalog's keeper", share, _spoken(share), "", None)
    pictures = saying.share_pictures or start.share_pictures
    return replace(
        start,
        share_merges=share,
        statement=saying.statement or start.statement,
        source=saying.source.strip(),
        read_on=date.today(),
        credit=saying.credit or start.credit,
        license=saying.license or start.license,
        obligations=tuple(dict.fromkeys(duties)),
        share_pictures=pictures,
        pictures_statement=start.pictures_statement
        or (f"Sharing pictures: {_word(pictures)}." if pictures else ""),
    )


def _spoken(share: ShareMerges) -> str:
    return f"Sharing merges: {_word(share)}."


def _word(share: ShareMerges) -> str:
    return {
        ShareMerges.ALLOW: "allowed",
        ShareMerges.ALLOW_WITH_OBLIGATIONS: "allowed under obligations",
        ShareMerges.UNKNOWN: "not known",
        ShareMerges.DENY: "not allowed",
    }[share]


def claims_from(
    file: Path, subject: Subject, sha256: str | None, content: str | None
) -> tuple[Claim, ...]:
    """The claims of a saved answer of Civitai (JSON) or a model card (Markdown) about a subject.

    Raises `BadFile` for a file that says nothing of its terms.
    """
    if not file.is_file():
        raise BadUsage(f"There is no file {file}.")
    is_card = file.suffix.lower() in (".md", ".markdown")
    found = card_evidence(file, subject) if is_card else answer_evidence(file, sha256, content)
    if not found.claims:
        raise BadFile(
            " ".join((*found.problems, *found.notes)) or f"{file} says nothing of its terms.",
            hint="The answer of https://civitai.com/api/v1/models/ID has Civitai's permissions; an "
            "answer about a version or a hash has none.",
        )
    return tuple(replace(claim, found=f"{claim.where}{_BY_HAND}") for claim in found.claims)


def record(catalog: Catalog, content: str, claims: Sequence[Claim]) -> None:
    """Keep what a person says of a content. Raises `CatalogError` where it cannot be written."""
    keep(catalog, content, claims, (), required=True)


def withdraw(catalog: Catalog, content: str) -> int:
    """Take back what a person has said of a content; how many claims that were."""
    rows = [
        one.id
        for one in catalog.claims(content)
        if one.origin == "user" or one.source.endswith(_BY_HAND)
    ]
    if rows:
        catalog.withdraw_claim(*rows)
    return len(rows)
