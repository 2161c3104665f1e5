"""The adapters that fit a query in an order that the person asks for, with as few looks as will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from math import inf
from operator import eq, gt, itemgetter, lt
from types import MappingProxyType
from typing import Any

from lorakit.catalog.query.conditions import Test
from lorakit.catalog.query.index import TEXTS, Index
from lorakit.catalog.query.pages import Page, pages
from lorakit.catalog.query.syntax import Sort

_COLUMN = MappingProxyType({"rank": "rank_max"})
_OF_FACET = ("algo", "layout", "dtype", "base")
# Comes last upwards; downwards "" and what is less than any number do.
_HIGHEST = "\U0010ffff"
# What every adapter has, and many adapters have different ones of.
_ALWAYS_THERE = ("name", "size", "added")


@dataclass(frozen=True, slots=True)
class _Order:
    """A column to sort by. `compared` puts something that comes last for what is not there."""

    column: str
    descending: bool
    compared: Callable[[Sequence[Any]], Sequence[Any]]


def ids_in_order(index: Index, test: Test, sorts: Sequence[Sort], most: int | None) -> list[int]:
    """The adapters that fit, sorted, and by name where that leaves it open; no more than `most`."""
    orders = [_order(index, sort) for sort in sorts]
    if sorts[0].field == "name":
        return _by_name(index, test, sorts, orders, most)
    found: list[tuple[Any, ...]] = []
    last: tuple[Any, ...] = ()
    for page in pages(index):
        # Asked before anything else, since it leaves little to test.
        among = _before(page, orders, last) if last else page.all
        chosen = test(page, among) if among else 0
        if not chosen:
            continue
        found += _sortable(page, orders, chosen)
        if most and len(found) >= 2 * most:
            found = _by(sorts, found)[:most]
            last = found[-1]
    return [int(row[-1]) for row in _by(sorts, found)[:most]]


def _by_name(
    index: Index, test: Test, sorts: Sequence[Sort], orders: Sequence[_Order], most: int | None
) -> list[int]:
    """As `ids_in_order` where names decide first: pages are in their order, so the first few will do."""
    turn, downwards = list(pages(index)), sorts[0].descending
    # Names still to come are at least the first of the next page; downwards, at most that of this one.
    ends = [*(page.first for page in turn[1:]), _HIGHEST]
    if downwards:
        turn.reverse()
        ends = [page.first for page in turn]
    found: list[tuple[Any, ...]] = []
    for page, end in zip(turn, ends, strict=False):
        chosen = test(page, page.all)
        rows = _sortable(page, orders, chosen) if chosen else []
        # Of equal names, those of the page before come first.
        place = 0 if downwards else len(found)
        found[place:place] = rows
        if most and len(found) >= most:
            found = _by(sorts, found)[:most]
            last = found[-1][0]
            if (end < last) if downwards else (end > last):
                break
    return [int(row[-1]) for row in _by(sorts, found)[:most]]


def _sortable(page: Page, orders: Sequence[_Order], chosen: int) -> list[tuple[Any, ...]]:
    """What orders compare of each of a choice, and its number."""
    values = [one.compared(page.chosen(one.column, chosen)) for one in orders]
    return list(zip(*values, page.chosen("id", chosen), strict=True))


def _before(page: Page, orders: Sequence[_Order], last: Sequence[object]) -> int:
    """Those that come before the last so far; what is level with it comes after it by name."""
    found, level = 0, page.all
    for order, limit in zip(orders, last, strict=False):
        is_before = partial(_all, gt if order.descending else lt, order, limit)
        found |= page.fitting(order.column, is_before, level)
        if order is orders[-1]:
            break
        level = page.fitting(order.column, partial(_all, eq, order, limit), level)
        if not level:
            break
    return found


def _all(
    how: Callable[[Any, Any], bool], order: _Order, limit: object, values: Sequence[Any]
) -> Iterable[bool]:
    return map(how, order.compared(values), repeat(limit))


def _by(sorts: Sequence[Sort], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    for place, sort in reversed(list(enumerate(sorts))):
        rows.sort(key=itemgetter(place), reverse=sort.descending)
    return rows


def _order(index: Index, sort: Sort) -> _Order:
    column = _COLUMN.get(sort.field, sort.field)
    if column in _OF_FACET:
        rows = index.read(f"SELECT id, {column} FROM facet")
        known = {number: text or _last(sort, text) for number, text in rows}
        return _Order("facet", sort.descending, lambda ids: [known[number] for number in ids])
    last = _last(sort, "" if column in TEXTS else 0)
    if column in _ALWAYS_THERE or last == "":
        return _Order(column, sort.descending, lambda values: values)
    if column in TEXTS:
        return _Order(column, sort.descending, lambda texts: [text or last for text in texts])
    # NaN differs from itself.
    return _Order(column, sort.descending, lambda numbers: [v if v == v else last for v in numbers])


def _last(sort: Sort, like: object) -> str | float:
    if isinstance(like, str):
        return "" if sort.descending else _HIGHEST
    return -inf if sort.descending else inf
