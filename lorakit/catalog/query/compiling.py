"""A query to one SELECT over the index."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lorakit.catalog.query.conditions import TRUE, Context, Sql, condition, either
from lorakit.catalog.query.syntax import Query

_FACET = "(SELECT {} FROM facet WHERE facet.id = item.facet)"
_ORDER: Mapping[str, str] = MappingProxyType(
    {
        "name": "name",
        "title": "nullif(title, '')",
        "rank": "rank_max",
        **{name: _FACET.format(name) for name in ("algo", "layout", "dtype")},
        "base": _FACET.format("nullif(base, '')"),
        **{name: name for name in ("rating", "favourite", "strength", "size", "modules")},
        **{name: name for name in ("missing", "added")},
    }
)


def where(query: Query, context: Context) -> Sql:
    """The condition that a query comes to."""
    if not query.groups:
        return TRUE
    groups = [either([condition(t, context) for t in group], "AND") for group in query.groups]
    return either(groups)


def select_ids(query: Query, context: Context, limit: int | None, offset: int) -> Sql:
    """The SELECT of the ids that fit, in the order asked for and by name where that leaves it open.

    What lacks a value comes last either way.
    """
    orders = []
    for sort in query.sorts:
        expression = _ORDER[sort.field]
        orders.append(f"{expression} {'DESC' if sort.descending else 'ASC'} NULLS LAST")
    found = where(query, context)
    return Sql(
        f"SELECT id FROM item WHERE {found.text} ORDER BY {', '.join([*orders, 'name', 'id'])} "
        "LIMIT ? OFFSET ?",
        (*found.values, -1 if limit is None else limit, offset),
    )


def count_all(query: Query, context: Context) -> Sql:
    """The SELECT of how many fit."""
    found = where(query, context)
    return Sql(f"SELECT count(*) FROM item WHERE {found.text}", found.values)
