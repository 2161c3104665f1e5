"""Comparisons of two ways to render, and what was voted in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from lorakit.catalog.records import ComparisonRecord
from lorakit.db.store import Store
from lorakit.db.times import from_text
from lorakit.errors import Ambiguous, NotFound

Choice = Literal["first", "second", "same"]

_SELECT = (
    "SELECT id, name, folder, sides, pairs, blind, order_seed, made_at FROM comparison "
    "ORDER BY made_at, id"
)


def store_comparison(
    store: Store,
    name: str,
    *,
    folder: str,
    sides: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[str, int]],
    blind: bool,
    order_seed: int,
) -> None:
    """Insert a comparison; one that is known is moved to `folder` and keeps its votes."""
    from sqlalchemy import select

    from lorakit.db.models import Comparison

    with store.writing() as session:
        known = session.scalar(select(Comparison).where(Comparison.name == name))
        if known is not None:
            known.folder = folder
            return
        session.add(
            Comparison(
                name=name,
                folder=folder,
                sides=[dict(side) for side in sides],
                pairs=[list(pair) for pair in pairs],
                blind=int(blind),
                order_seed=order_seed,
            )
        )


def all_comparisons(store: Store) -> list[ComparisonRecord]:
    """Every comparison with its votes, the oldest first."""
    votes: dict[int, dict[int, str]] = {}
    for comparison, pair, choice in store.read("SELECT comparison_id, pair, choice FROM vote"):
        votes.setdefault(comparison, {})[pair] = choice
    return [_record(row, votes.get(row[0], {})) for row in store.read(_SELECT)]


def find_comparison(store: Store, name: str) -> ComparisonRecord:
    """The comparison of that name, or the only one whose name begins so, or the one of that folder.

    Raises `NotFound` and `Ambiguous`.
    """
    known = all_comparisons(store)
    found = [one for one in known if name in (one.name, one.folder)]
    found = found or [one for one in known if one.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.name for one in found)
        raise Ambiguous(f"{name!r} fits several comparisons.", hint=f"They are: {names}.")
    raise NotFound(f"There is no comparison {name!r}.", hint="`lorakit ab show` lists them.")


def store_votes(store: Store, name: str, votes: Mapping[int, Choice]) -> None:
    """Keep votes by number of the pair, from 1; a vote on the same pair again takes the place of the
    first. Raises `NotFound` for a comparison that is not known."""
    from sqlalchemy import select

    from lorakit.db.models import Comparison, Vote

    with store.writing() as session:
        comparison = session.scalar(select(Comparison.id).where(Comparison.name == name))
        if comparison is None:
            raise NotFound(f"There is no comparison {name!r}.")
        known = {
            vote.pair: vote
            for vote in session.scalars(select(Vote).where(Vote.comparison_id == comparison))
        }
        for pair, choice in votes.items():
            if pair in known:
                known[pair].choice, known[pair].at = choice, datetime.now(UTC)
            else:
                session.add(Vote(comparison_id=comparison, pair=pair, choice=choice))


def _record(row: tuple[Any, ...], votes: Mapping[int, str]) -> ComparisonRecord:
    number, name, folder, sides, pairs, blind, order_seed, made_at = row
    return ComparisonRecord(
        id=number,
        name=name,
        folder=folder,
        sides=tuple(json.loads(sides)),
        pairs=tuple((str(prompt), int(seed)) for prompt, seed in json.loads(pairs)),
        blind=bool(blind),
        order_seed=order_seed,
        made_at=from_text(made_at),
        votes=dict(votes),
    )
