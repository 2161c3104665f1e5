"""The audit of licence decisions: a chain of hashes that is only ever added to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from lorakit.db.models import Audit
from lorakit.db.times import to_text


def chain_hash(previous: str, at: str, action: str, verdict: str, subject: str) -> str:
    """The hash of a decision: SHA-256 over the hash before it and its columns as they are stored."""
    return hashlib.sha256("\n".join((previous, at, action, verdict, subject)).encode()).hexdigest()


def add_decision(session: Session, action: str, verdict: str, subject: Mapping[str, object]) -> str:
    """Add a decision to the end of the chain, under the write lock, and return its hash."""
    previous = session.scalar(select(Audit.hash).order_by(Audit.id.desc()).limit(1)) or ""
    at = datetime.now(UTC)
    stored = json.dumps(dict(subject), separators=(",", ":"), default=str)
    digest = chain_hash(previous, to_text(at), action, verdict, stored)
    row = Audit(at=at, action=action, verdict=verdict, subject=json.loads(stored))
    row.previous, row.hash = previous, digest
    session.add(row)
    return digest
