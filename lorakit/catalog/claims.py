"""Claims: what sources say of the terms of a content, kept beyond the files they stood in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lorakit.catalog.facts import chunks
from lorakit.db.store import Store
from lorakit.db.times import from_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """What one source says of one content (a `tensor_sha256`, or `model:KEY` of the known models).

    `origin` is the kind of source, `source` where it stands, `model` a key of the table of known
    models, `terms` what is said, as `lorakit.licenses.terms.Terms.to_dict` gives it.
    """

    id: int
    content: str
    origin: str
    source: str
    model: str | None
    terms: Mapping[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class NewClaim:
    """A claim to be kept, with the fields of `ClaimRecord`."""

    content: str
    origin: str
    source: str
    terms: Mapping[str, Any]
    model: str | None = None


def claims_of(store: Store, content: str) -> list[ClaimRecord]:
    """The claims about a content, the oldest first."""
    rows = store.read(
        "SELECT id, content, origin, source, model, terms, recorded_at FROM claim "
        "WHERE content = :content ORDER BY id",
        {"content": content},
    )
    return [
        ClaimRecord(number, about, origin, source, model, json.loads(terms), from_text(at))
        for number, about, origin, source, model, terms, at in rows
    ]


def denied_contents(store: Store) -> frozenset[str]:
    """The contents of which some source says that their merges may not be shared."""
    rows = store.read(
        "SELECT DISTINCT content FROM claim WHERE terms LIKE :denies",
        {"denies": '%"share_merges":"deny"%'},
    )
    return frozenset(str(content) for (content,) in rows)


def store_claims(session: Session, claims: Iterable[NewClaim]) -> list[int]:
    """Keep claims; one of the same content, origin and source is replaced. Returns their rows."""
    from sqlalchemy import select

    from lorakit.db.models import Claim

    said = list(claims)
    rows: dict[tuple[str, str, str], Claim] = {
        (row.content, row.origin, row.source): row
        for chunk in chunks(claim.content for claim in said)
        for row in session.scalars(select(Claim).where(Claim.content.in_(chunk)))
    }
    stored = []
    for new in said:
        key = (new.content, new.origin, new.source)
        claim = rows.get(key) or Claim(content=key[0], origin=key[1], source=key[2])
        claim.model, claim.terms, claim.recorded_at = new.model, dict(new.terms), datetime.now(UTC)
        session.add(claim)
        rows[key] = claim
        stored.append(claim)
    session.flush()
    return [claim.id for claim in stored]


def drop_claims(session: Session, numbers: Iterable[int]) -> None:
    """Remove claims by row."""
    from lorakit.db.models import Claim

    # Row by row, so that the journal sees each.
    for number in numbers:
        if (claim := session.get(Claim, number)) is not None:
            session.delete(claim)
