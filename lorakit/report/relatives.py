"""The relatives of all that a gallery shows, kept so that the next gallery of the same adapters has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from lorakit.catalog.derived import derived, keep_derived

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.tracing.neighbours import Neighbour, Shelf

# Of each content: among which adapters it was compared, and what was found.
_KIND = "gallery relatives 1"


def relatives_of(
    catalog: Catalog,
    records: Sequence[AdapterRecord],
    like: int,
    on_progress: Callable[[int, int, str], None],
    warn: Callable[[str], None],
) -> Mapping[str, Sequence[Neighbour]]:
    """Up to `like` relatives of each of `records` among them, by content, the most alike first.

    Comparing a thousand adapters takes a minute, so it is done again only where they are others.
    """
    if not like:
        return {}
    from lorakit.tracing.neighbours import all_neighbours, keep_neighbours, shelve

    shelf = shelve(catalog, records, on_progress)
    among = _among(shelf, like)
    found = _kept(catalog, shelf, among)
    if found is None:
        found = all_neighbours(shelf, like, on_progress, warn)
        keep_derived(catalog, _KIND, {c: _to_bytes(among, near) for c, near in found.items()})
    keep_neighbours(shelf, found)
    return found


def _among(shelf: Shelf, like: int) -> str:
    """What tells one set of adapters, and how many relatives of each were wanted, from others."""
    rows = sorted((content, one.id) for content in shelf.contents for one in shelf.records[content])
    return hashlib.sha256(json.dumps([like, rows]).encode()).hexdigest()


def _kept(catalog: Catalog, shelf: Shelf, among: str) -> dict[str, list[Neighbour]] | None:
    """What was found among the same adapters; None where it is not known of every one."""
    known = derived(catalog, _KIND)
    records = {one.id: one for content in shelf.contents for one in shelf.records[content]}
    found: dict[str, list[Neighbour]] = {}
    for content in shelf.contents:
        near = _from_bytes(known.get(content), among, records)
        if near is None:
            return None
        found[content] = near
    return found


def _to_bytes(among: str, near: Sequence[Neighbour]) -> bytes:
    return json.dumps([among, [[one.record.id, asdict(one.likeness)] for one in near]]).encode()


def _from_bytes(
    data: bytes | None, among: str, records: Mapping[int, AdapterRecord]
) -> list[Neighbour] | None:
    from lorakit.tracing.neighbours import Neighbour
    from lorakit.tracing.similar import Likeness

    try:
        known_among, near = json.loads(data) if data is not None else ("", [])
        if known_among != among:
            return None
        return [Neighbour(records[number], Likeness(**fields)) for number, fields in near]
    except (ValueError, KeyError, TypeError):
        return None
