"""Numbers as a page keeps them: each column once over, or a byte for each adapter where few differ.

Most columns of a thousand adapters hold a handful of numbers. A condition is then asked of these alone,
and `bytes.translate` carries the answer to all adapters in about a microsecond.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import nan
from typing import Any

# What one byte can tell apart.
_MOST_KINDS = 256
# The different numbers of a column, and for each adapter which of them it has.
Coded = tuple[Sequence[float], bytes]


def pack(columns: Iterable[Sequence[Any]]) -> bytes:
    """Columns of numbers as bytes, with NaN for None, which fits no comparison."""
    packed = [_packed(column) for column in columns]
    return b"".join(
        [bytes(array("H", [kinds for kinds, _ in packed])), *(data for _, data in packed)]
    )


class Numbers:
    """Columns as `pack` made them, each of `count` numbers, read when they are asked for."""

    def __init__(self, data: bytes, columns: int, count: int) -> None:
        """Raises `ValueError` for too few bytes."""
        self._data = data
        self._count = count
        head = array("H", data[: 2 * columns])
        self._kinds = head.tolist()
        sizes = [8 * kinds + count if kinds else 8 * count for kinds in self._kinds]
        self._ends = list(accumulate(sizes, initial=2 * columns))

    def coded(self, column: int) -> Coded | None:
        """A column by its different numbers; None where they are too many. Raises as `Page.values`."""
        kinds = self._kinds[column]
        if not kinds:
            return None
        start, end = self._ends[column], self._ends[column + 1]
        middle = start + 8 * kinds
        codes = self._data[middle:end]
        self._check(codes)
        return array("d", self._data[start:middle]).tolist(), codes

    def values(self, column: int) -> Sequence[float]:
        """A column, adapter by adapter. Raises as `Page.values`."""
        if coded := self.coded(column):
            kinds, codes = coded
            return [kinds[code] for code in codes]
        found = array("d", self._data[self._ends[column] : self._ends[column + 1]])
        self._check(found)
        return found

    def _check(self, found: Sequence[float]) -> None:
        if len(found) != self._count:
            raise sqlite3.DatabaseError(f"a page has {len(found)} of {self._count} numbers")


def _packed(column: Sequence[Any]) -> tuple[int, bytes]:
    """How many different numbers a column has, 0 for too many, and its bytes."""
    kinds = set(column)
    if any(number is None or number != number for number in kinds):
        # One NaN is not like another, except that it is the same object.
        column = [nan if number is None or number != number else number for number in column]
        kinds = set(column)
    if len(kinds) > _MOST_KINDS:
        return 0, bytes(array("d", column))
    codes = {number: code for code, number in enumerate(kinds)}
    return len(kinds), bytes(array("d", kinds)) + bytes(map(codes.__getitem__, column))
