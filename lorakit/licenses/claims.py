"""Claims: what each source says of one content's terms, and what they come to together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from lorakit.licenses.terms import ShareMerges, Terms, strictest

Origin = Literal["user", "table", "civitai", "modelspec", "card", "ancestor", "recognised"]
# Where several claims are equally strict, the first of these decides.
ORIGINS: tuple[Origin, ...] = get_args(Origin)

NOTHING_SAID = Terms(
    "no licence named",
    ShareMerges.UNKNOWN,
    "No licence is named in the file, beside it or in the catalog.",
    "none",
    None,
)


@dataclass(frozen=True)
class Claim:
    """What one source says of one content.

    `terms.source` says where the terms stand and `terms.read_on` when; `found` says where it is stated
    that they hold for this content, where that is another place (such as a model card that names its
    base). `model` is a key of the table of known models where the claim is "this is that model", or for
    an "ancestor" "it was made from that model". `id` is its row, when it is kept in the catalog.
    """

    origin: Origin
    terms: Terms
    model: str | None = None
    id: int | None = None
    found: str = ""

    @property
    def where(self) -> str:
        """Where the claim stands."""
        return self.found or self.terms.source


def joined(claims: Sequence[Claim]) -> Terms:
    """What several claims about one content come to: the strictest, with the obligations of all.

    A user's claim settles what others leave unknown; it never loosens a refusal or drops an obligation.
    Without any claim the terms are unknown.
    """
    if not claims:
        return NOTHING_SAID
    share = _settled([(claim, claim.terms.share_merges) for claim in claims])
    decisive = next(c for c in _in_order(claims) if c.terms.share_merges == share)
    obligations = tuple(dict.fromkeys(o for c in claims for o in c.terms.obligations))
    if share is ShareMerges.ALLOW and obligations:
        share = ShareMerges.ALLOW_WITH_OBLIGATIONS
    terms = replace(
        decisive.terms,
        share_merges=share,
        credit=any(claim.terms.credit for claim in claims),
        license=_license(claims),
        obligations=obligations,
        use=" ".join(dict.fromkeys(c.terms.use for c in claims if c.terms.use)),
    )
    return _with_pictures(terms, claims)


def _settled(said: Sequence[tuple[Claim, ShareMerges]]) -> ShareMerges:
    """The strictest answer, once the user's have taken the place of what is unknown."""
    own = [share for claim, share in said if claim.origin == "user"]
    others = [share for claim, share in said if claim.origin != "user"]
    if own:
        others = [share for share in others if share is not ShareMerges.UNKNOWN]
    return strictest(others + own)


def _with_pictures(terms: Terms, claims: Sequence[Claim]) -> Terms:
    said = [(c, c.terms.share_pictures) for c in claims if c.terms.share_pictures is not None]
    obligations = tuple(dict.fromkeys(o for c in claims for o in c.terms.picture_obligations))
    if not said:
        return replace(terms, picture_obligations=obligations)
    share = _settled([(claim, answer) for claim, answer in said if answer is not None])
    decisive = next(c for c in _in_order(claims) if c.terms.share_pictures == share)
    if share is ShareMerges.ALLOW and obligations:
        share = ShareMerges.ALLOW_WITH_OBLIGATIONS
    return replace(
        terms,
        share_pictures=share,
        pictures_statement=decisive.terms.pictures_statement,
        pictures_source=decisive.terms.pictures_source
        or f"{decisive.terms.title}: {decisive.terms.cited}",
        picture_obligations=obligations,
    )


def _in_order(claims: Sequence[Claim]) -> list[Claim]:
    return sorted(claims, key=lambda claim: ORIGINS.index(claim.origin))


def _license(claims: Sequence[Claim]) -> str | None:
    """The licences of all claims as one SPDX expression."""
    found = list(dict.fromkeys(c.terms.license for c in claims if c.terms.license))
    if len(found) < 2:
        return found[0] if found else None
    return " AND ".join(f"({one})" if " OR " in one else one for one in found)


def conflicts(claims: Sequence[Claim]) -> tuple[str, ...]:
    """A sentence for each two sources that answer differently whether merges may be shared."""
    terms = joined(claims)
    found = []
    for one, other in combinations(_in_order(claims), 2):
        if one.terms.share_merges == other.terms.share_merges:
            continue
        settled = ShareMerges.UNKNOWN in (one.terms.share_merges, other.terms.share_merges)
        holds = (
            "your claim settles it"
            if settled and one.origin == "user" and terms.share_merges is not ShareMerges.UNKNOWN
            else "the stricter holds"
        )
        found.append(f"{_says(one)}, but {_says(other)}; {holds}.")
    return tuple(found)


def _says(claim: Claim) -> str:
    return f"{claim.where} says {claim.terms.share_merges}".replace("_", " ")
