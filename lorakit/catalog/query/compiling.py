"""A query to the adapters that fit it, page by page of the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, repeat
from math import inf
from operator import ge, gt, itemgetter, le, lt
from types import MappingProxyType
from typing import Any

from lorakit.catalog.query.conditions import Context, Test, all_of, any_of, test_of
from lorakit.catalog.query.index import TEXTS, Index
from lorakit.catalog.query.pages import USUAL, Page, pages
from lorakit.catalog.query.syntax import Query, Sort

_COLUMN = MappingProxyType({"rank": "rank_max"})
_OF_FACET = ("algo", "layout", "dtype", "base")
# Comes last upwards; downwards "" and what is less than any number do.
_HIGHEST = "\U0010ffff"
# By whether an order is downwards, and whether it is the only one.
_BETTER = {(True, True): gt, (True, False): ge, (False, True): lt, (False, False): le}
Values = Callable[[Page, int], Sequence[Any]]


def whether(query: Query, context: Context) -> Test:
    """The test that a query comes to."""
    if not query.groups:
        return lambda page, among: among
    return any_of([all_of([test_of(term, context) for term in group]) for group in query.groups])


def find_ids(index: Index, test: Test, sorts: Sequence[Sort], most: int | None) -> list[int]:
    """The adapters that fit, in the order asked for and by name where that leaves it open.

    What lacks a value comes last either way. No more than `most`.
    """
    if sorts:
        return _in_order(index, test, sorts, most)
    found: list[int] = []
    for page in pages(index):
        if chosen := test(page, page.all):
            found += map(int, page.chosen("id", chosen))
        if most is not None and len(found) >= most:
            break
    return found[:most]


def count_all(index: Index, test: Test) -> int:
    """How many fit."""
    return sum(test(page, page.all).bit_count() for page in pages(index))


def _in_order(index: Index, test: Test, sorts: Sequence[Sort], most: int | None) -> list[int]:
    values_of = [_values_of(index, sort) for sort in sorts]
    found: list[tuple[Any, ...]] = []
    # What comes later by name has to be better than the last so far, unless another order decides.
    better = _BETTER[sorts[0].descending, len(sorts) == 1]
    last: Any = None
    for page in pages(index):
        chosen = test(page, page.all)
        if not chosen:
            continue
        first, *others = (values(page, chosen) for values in values_of)
        rows = zip(first, *others, page.chosen("id", chosen), strict=True)
        found += rows if last is None else compress(rows, map(better, first, repeat(last)))
        if most and len(found) > 2 * most + USUAL:
            found = _by(sorts, found)[:most]
            last = found[-1][0]
    return [int(row[-1]) for row in _by(sorts, found)[:most]]


def _by(sorts: Sequence[Sort], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    for place, sort in reversed(list(enumerate(sorts))):
        rows.sort(key=itemgetter(place), reverse=sort.descending)
    return rows


def _values_of(index: Index, sort: Sort) -> Values:
    """What an order compares, with something that comes last in place of what is not there."""
    column = _COLUMN.get(sort.field, sort.field)
    if column in _OF_FACET:
        known = {
            number: text or _last(sort, text)
            for number, text in index.read(f"SELECT id, {column} FROM facet")
        }
        return lambda page, chosen: [known[number] for number in page.chosen("facet", chosen)]
    last = _last(sort, "" if column in TEXTS else 0)
    if column in TEXTS:
        return lambda page, chosen: [text or last for text in page.chosen(column, chosen)]
    # NaN differs from itself.
    return lambda page, chosen: [v if v == v else last for v in page.chosen(column, chosen)]


def _last(sort: Sort, like: object) -> str | float:
    if isinstance(like, str):
        return "" if sort.descending else _HIGHEST
    return -inf if sort.descending else inf
