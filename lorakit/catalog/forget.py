"""Forgetting: rows of adapters go, files and what was said of their contents stay."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from lorakit.catalog.reverting import remove_adapter
from lorakit.db.models import Adapter


def forget_adapters(session: Session, numbers: Iterable[int]) -> int:
    """Remove adapters by their rows, with reports and locations; how many there were."""
    found = [adapter for n in dict.fromkeys(numbers) if (adapter := session.get(Adapter, n))]
    for adapter in found:
        remove_adapter(session, adapter)
    return len(found)
