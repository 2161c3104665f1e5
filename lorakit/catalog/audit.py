"""The audit of licence decisions: a chain of hashes that is only ever added to, and can be checked.

The check finds decisions that were changed or taken out, by whatever program. It does not stop anyone who
writes the whole chain anew; for that, the hash of an allowed decision stands in the file it allowed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lorakit.catalog.records import AuditCheck, DecisionRecord
from lorakit.db.store import Store
from lorakit.db.times import from_text, to_text
from lorakit.errors import CatalogError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_COLUMNS = "id, at, action, verdict, subject, previous, hash"


def chain_hash(previous: str, at: str, action: str, verdict: str, subject: str) -> str:
    """The hash of a decision: SHA-256 over the hash before it and its columns as they are stored."""
    return hashlib.sha256("\n".join((previous, at, action, verdict, subject)).encode()).hexdigest()


def add_decision(session: Session, action: str, verdict: str, subject: Mapping[str, object]) -> str:
    """Add a decision to the end of the chain, under the write lock, and return its hash."""
    from datetime import UTC, datetime

    from sqlalchemy import select

    from lorakit.db.models import Audit

    previous = session.scalar(select(Audit.hash).order_by(Audit.id.desc()).limit(1)) or ""
    at = datetime.now(UTC)
    stored = json.dumps(dict(subject), separators=(",", ":"), default=str)
    digest = chain_hash(previous, to_text(at), action, verdict, stored)
    row = Audit(at=at, action=action, verdict=verdict, subject=json.loads(stored))
    row.previous, row.hash = previous, digest
    session.add(row)
    return digest


def all_decisions(store: Store) -> list[DecisionRecord]:
    """Every licence decision, the oldest first. Raises `CatalogError` for one that is not readable."""
    return [_decision(*row) for row in store.read(f"SELECT {_COLUMNS} FROM audit ORDER BY id")]


def _decision(
    number: int, at: str, action: str, verdict: str, subject: str, _: str, digest: str
) -> DecisionRecord:
    try:
        found = json.loads(subject)
        return DecisionRecord(number, from_text(at), action, verdict, found, digest)
    except (ValueError, RecursionError) as error:
        raise CatalogError(
            f"Decision {number} of the audit cannot be read: {error}.",
            hint="`lorakit license audit --verify` says whether it was changed.",
        ) from error


def check_chain(store: Store) -> AuditCheck:
    """Follow the chain from its first decision to its last, and name the first that is not as written."""
    rows, given = _chain(store)
    last = ""
    for place, (number, *stored, previous, digest) in enumerate(rows, start=1):
        if given is not None and number != place:
            return AuditCheck(len(rows), last, place, _gone(place, number - 1))
        if previous != last:
            reason = f"decision {number} does not follow the one that stands before it"
            return AuditCheck(len(rows), last, number, reason)
        if digest != chain_hash(previous, *stored):
            return AuditCheck(len(rows), last, number, f"decision {number} was changed")
        last = digest
    if given is not None and given != len(rows):
        return AuditCheck(len(rows), last, len(rows) + 1, _at_the_end(len(rows), given))
    return AuditCheck(len(rows), last)


def _chain(store: Store) -> tuple[list[tuple[Any, ...]], int | None]:
    """The decisions as stored, and how many were ever numbered, None where that is not counted.

    SQLite takes a number back only with the transaction it was given in, so there are no gaps. Both
    are read in one statement, since others may be adding.
    """
    if not store.target.url.startswith("sqlite"):
        return store.read(f"SELECT {_COLUMNS} FROM audit ORDER BY id"), None
    rows = store.read(
        f"SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'audit'), {_COLUMNS} "
        "FROM (SELECT 1) LEFT JOIN audit ON 1 ORDER BY id"
    )
    given = rows[0][0]
    return [row[1:] for row in rows if row[1] is not None], given if type(given) is int else 0


def _gone(first: int, last: int) -> str:
    return f"decision {first} is gone" if first >= last else f"decisions {first} to {last} are gone"


def _at_the_end(there: int, given: int) -> str:
    if given > there:
        return f"{_gone(there + 1, given)} from the end"
    return f"the count of decisions says {given}, and there are {there}"
