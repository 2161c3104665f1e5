"""Claims in the catalog: what files once said stays known when the file that said it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lorakit.errors import CatalogError
from lorakit.licenses.claims import ORIGINS, Claim, Origin
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.known import known
from lorakit.licenses.lineage import kept_as, model_claim, table_ancestors
from lorakit.licenses.terms import Terms

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.claims import ClaimRecord, NewClaim

# The origin of a record that names a file of a base that has several: no claim of terms.
PART = "part"


def kept(catalog: Catalog, content: str) -> tuple[tuple[Claim, ...], tuple[Dossier, ...]]:
    """The claims about a content that the catalog keeps, and the ancestors it keeps for it."""
    claims, ancestors = [], []
    for record in catalog.claims(content):
        if record.origin == PART:
            continue
        claim = _claim(record)
        if claim.origin in ("ancestor", "recognised"):
            ancestors.append(_ancestor(record, claim))
        else:
            claims.append(claim)
    return tuple(claims), tuple(ancestors)


def keep(
    catalog: Catalog,
    content: str,
    claims: Iterable[Claim],
    ancestors: Iterable[Dossier],
    *,
    required: bool = False,
) -> None:
    """Keep what is said of a content, in place of what the same source said before.

    What stands in files can be kept another time: unless it is `required`, a catalog that cannot be
    written now is no error.
    """
    rows = new_rows(catalog, content, claims, ancestors)
    if rows:
        with nullcontext() if required else suppress(CatalogError):
            catalog.record_claims(rows)


def new_rows(
    catalog: Catalog, content: str, claims: Iterable[Claim], ancestors: Iterable[Dossier]
) -> list[NewClaim]:
    """Those of the claims and ancestors that the catalog does not hold as they are."""
    # A stack of plain paths is judged without a catalog, and without the database's modules.
    from lorakit.catalog.claims import NewClaim

    said = [
        NewClaim(content, claim.origin, claim.where, claim.terms.to_dict(), claim.model)
        for claim in claims
    ]
    for ancestor in ancestors:
        for one in ancestor.everyone():
            if not _is_of_the_table(one):
                model, terms = _row(one)
                said.append(NewClaim(content, "ancestor", kept_as(one), terms, model))
    there = {(record.origin, record.source): record for record in catalog.claims(content)}
    return [row for row in said if _differs(row, there.get((row.origin, row.source)))]


def _differs(row: NewClaim, before: ClaimRecord | None) -> bool:
    """Whether anything but the day it was read is new."""
    if before is None or before.model != row.model:
        return True
    return {**before.terms, "read_on": None} != {**row.terms, "read_on": None}


def merged(found: Sequence[Claim], stored: Sequence[Claim]) -> tuple[Claim, ...]:
    """Claims of both, those found now before what the same source was read to say earlier.

    Where nothing has changed, the earlier reading's date and row stand. What a source said under the
    file's former name, and says now, is said once.
    """
    rows = {(claim.origin, claim.where): claim for claim in stored}
    newest = []
    for claim in found:
        before = rows.pop((claim.origin, claim.where), None)
        same = before is not None and _said(before) == _said(claim)
        newest.append(before if before is not None and same else claim)
    said = {_said(claim) for claim in newest}
    others = (c for c in rows.values() if c.origin == "user" or _said(c) not in said)
    return (*newest, *others)


def _said(claim: Claim) -> tuple[str, Terms, str | None]:
    """What a claim says, whenever and in whichever file."""
    terms = replace(claim.terms, read_on=None, source="", pictures_source="")
    return claim.origin, terms, claim.model


def _claim(record: ClaimRecord) -> Claim:
    """The claim as the table of known models has it now, where it is that something is such a model."""
    origin: Origin = next((one for one in ORIGINS if one == record.origin), "ancestor")
    if origin == "table" and record.model is not None and record.model in known():
        return replace(model_claim(record.model, record.source), id=record.id)
    try:
        terms = Terms.from_dict(record.terms)
    except ValueError:
        terms = Terms.from_dict(
            {
                "title": "unreadable",
                "share_merges": "unknown",
                "statement": "What was kept of this claim cannot be read.",
                "source": record.source,
            }
        )
    found = "" if record.source == terms.source else record.source
    return Claim(origin, terms, record.model, record.id, found)


def _ancestor(record: ClaimRecord, claim: Claim) -> Dossier:
    """An ancestor that was recorded once. Its terms are those of the table too, if it stands there."""
    extra = record.terms
    key = record.model if record.model in known() else None
    claims = (claim, model_claim(key, record.source)) if key else (claim,)
    return Dossier(
        str(extra.get("name") or claim.terms.title),
        "base" if extra.get("role") == "base" else "adapter",
        extra.get("content"),
        extra.get("sha256"),
        claims,
        table_ancestors(key) if key else (),
        str(extra.get("relation") or record.source),
    )


def _is_of_the_table(ancestor: Dossier) -> bool:
    """Whether an ancestor is there because the table says so of a model, which need not be kept."""
    return all(claim.origin == "table" and not claim.found for claim in ancestor.claims)


def _row(ancestor: Dossier) -> tuple[str | None, dict[str, Any]]:
    """Model and terms of an ancestor as they are kept, with what tells it from others."""
    model = next((claim.model for claim in ancestor.claims if claim.model), None)
    identity = {
        "name": ancestor.name,
        "role": ancestor.role,
        "content": ancestor.content,
        "sha256": ancestor.sha256,
    }
    # What is said beside the key, where it is something else.
    relation = ancestor.relation
    said = {} if relation == kept_as(ancestor) else {"relation": relation}
    return model, {**ancestor.own_terms.to_dict(), **identity, **said}
