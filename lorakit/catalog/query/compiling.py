"""A query to the adapters that fit it, page by page of the index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from math import inf
from operator import ge, gt, itemgetter, le, lt
from types import MappingProxyType
from typing import Any

from lorakit.catalog.query.conditions import TEXT_FIELDS, Context, Test, all_of, any_of, test_of
from lorakit.catalog.query.index import TEXTS, Index
from lorakit.catalog.query.pages import USUAL, pages
from lorakit.catalog.query.syntax import Query, Sort, Term

_COLUMN = MappingProxyType({"rank": "rank_max"})
_OF_FACET = ("algo", "layout", "dtype", "base")
# Comes last upwards; downwards "" and what is less than any number do.
_HIGHEST = "\U0010ffff"
# By whether an order is downwards, and whether it is the only one.
_BETTER = {(True, True): gt, (True, False): ge, (False, True): lt, (False, False): le}
Compared = Callable[[Sequence[Any]], Sequence[Any]]


def whether(query: Query, context: Context) -> Test:
    """The test that a query comes to."""
    if not query.groups:
        return lambda page, among: among
    groups = [sorted(group, key=_effort) for group in query.groups]
    return any_of([all_of([test_of(term, context) for term in group]) for group in groups])


def _effort(term: Term) -> int:
    """Tags and numbers come before texts, of which few are left to look through then."""
    if term.field == "tag":
        return 0
    return 2 if (term.field or "text") in TEXT_FIELDS else 1


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
    columns = [_compared(index, sort) for sort in sorts]
    found: list[tuple[Any, ...]] = []
    # What comes later by name has to be better than the last so far, unless another order decides.
    better = _BETTER[sorts[0].descending, len(sorts) == 1]
    last: Any = None
    for page in pages(index):
        among = page.all
        if last is not None:
            column, compared = columns[0]
            # Asked before anything else, since it leaves little to test.
            among = page.fitting(column, partial(_are_better, compared, better, last), among)
        chosen = test(page, among) if among else 0
        if not chosen:
            continue
        values = [compared(page.chosen(column, chosen)) for column, compared in columns]
        found += zip(*values, page.chosen("id", chosen), strict=True)
        if most and len(found) > 2 * most + USUAL:
            found = _by(sorts, found)[:most]
            last = found[-1][0]
    return [int(row[-1]) for row in _by(sorts, found)[:most]]


def _are_better(
    compared: Compared, better: Callable[[Any, Any], bool], last: object, values: Sequence[Any]
) -> Iterable[bool]:
    return map(better, compared(values), repeat(last))


def _by(sorts: Sequence[Sort], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    for place, sort in reversed(list(enumerate(sorts))):
        rows.sort(key=itemgetter(place), reverse=sort.descending)
    return rows


def _compared(index: Index, sort: Sort) -> tuple[str, Compared]:
    """The column of an order, and what is compared of it: something that comes last for what is not there."""
    column = _COLUMN.get(sort.field, sort.field)
    if column in _OF_FACET:
        rows = index.read(f"SELECT id, {column} FROM facet")
        known = {number: text or _last(sort, text) for number, text in rows}
        return "facet", lambda numbers: list(map(known.__getitem__, numbers))
    last = _last(sort, "" if column in TEXTS else 0)
    if column in TEXTS:
        return column, lambda texts: [text or last for text in texts]
    # NaN differs from itself.
    return column, lambda numbers: [v if v == v else last for v in numbers]


def _last(sort: Sort, like: object) -> str | float:
    if isinstance(like, str):
        return "" if sort.descending else _HIGHEST
    return -inf if sort.descending else inf
