"""Pages: the adapters of the index in the order of their names, about a thousand on each, by column.

A condition is answered for a whole page at once, by calls that run through a column without Python's
help; what it needs no column of is never read.
"""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

from lorakit.catalog.query.index import NUMBERS, Index
from lorakit.catalog.query.numbers import Coded, Numbers
from lorakit.catalog.query.patterns import lines_with

# Whether each of some values fits.
Fit = Callable[[Sequence[Any]], Iterable[bool]]
# By tag, the places on a page are kept as characters that JSON leaves alone, which are read at once.
FIRST_SIGN = 0x100
# How many adapters a page has at most, and each place among them.
MOST = 1536
_PLACES = tuple(range(MOST))


class Page:
    """One page, whose columns are read when they are asked for.

    A choice among its adapters is a number with a byte for each, 1 or 0, the first one lowest, so that
    choices are joined by `&`, `|` and `^`.
    """

    def __init__(self, index: Index, number: int, count: int, first: str) -> None:
        self._index = index
        self._stored: dict[str, Any] = {}
        self._values: dict[str, Sequence[Any]] = {}
        self._codes: dict[str, Coded | None] = {}
        self.number = number
        self.count = count
        # The least of its names.
        self.first = first
        self.all = int.from_bytes(b"\1" * count, "little")

    def stored(self, column: str) -> Any:  # noqa: ANN401 - text, or bytes
        """A column as it is stored, for a first look."""
        if column not in self._stored:
            sql = f"SELECT {column} FROM page WHERE number = ?"
            self._stored[column] = self._index.read(sql, [self.number])[0][0]
        return self._stored[column]

    def values(self, column: str) -> Sequence[Any]:
        """The values of a column, one for each adapter: NaN for a number and "" for a text there is not.

        Raises `sqlite3.DatabaseError` for another number of them.
        """
        if column not in self._values:
            is_number = column in NUMBERS
            self._values[column] = self._number(column) if is_number else self._lines(column)
        return self._values[column]

    def chosen(self, column: str, choice: int) -> Sequence[Any]:
        """The values of a column for those of a choice."""
        if choice == self.all:
            return self.values(column)
        if coded := self._coded(column):
            kinds, codes = coded
            return [kinds[code] for code in compress(codes, self._bytes(choice))]
        values = self.values(column)
        return [values[place] for place in compress(_PLACES, self._bytes(choice))]

    def fitting(self, column: str, fit: Fit, among: int) -> int:
        """Those of a choice whose value in a column fits."""
        if coded := self._coded(column):
            kinds, codes = coded
            # A byte for each of the numbers that a byte can be.
            answers = bytes(fit(kinds)).ljust(256, b"\0")
            return among & int.from_bytes(codes.translate(answers), "little")
        values = self.values(column)
        if self._are_many(among):
            return among & int.from_bytes(bytes(fit(values)), "little")
        places = list(compress(_PLACES, self._bytes(among)))
        return self._at(compress(places, fit([values[place] for place in places])))

    def matching(self, column: str, expression: re.Pattern[str], among: int) -> int:
        """Those of a choice in whose text an expression of `patterns.compiled` finds something."""
        if self._are_many(among):
            places = lines_with(expression, self.stored(column))
            if places is not None:
                return among & self._at(places)
        search = expression.search
        return self.fitting(column, lambda texts: map(bool, map(search, texts)), among)

    def tagged(self, tags: Iterable[str]) -> int:
        """Those with one of some tags."""
        known = self.places_by_tag()
        signs = "".join([known.get(tag, "") for tag in tags])
        return self._at(array("H", signs.encode("utf-16")[2:]), FIRST_SIGN)

    def tags(self) -> Iterable[str]:
        """Every tag that one of them has."""
        return self.places_by_tag().keys()

    def places_by_tag(self) -> dict[str, str]:
        """By tag, the places of those that have it, each as a character counted from `FIRST_SIGN`."""
        if "tagged" not in self._stored:
            self._stored["tagged"] = json.loads(self.stored("tags"))
        found: dict[str, str] = self._stored["tagged"]
        return found

    def _at(self, places: Iterable[int], first: int = 0) -> int:
        """Those at some places on the page, which are counted from `first`."""
        found = bytearray(first + self.count)
        for place in places:
            found[place] = 1
        return int.from_bytes(found[first:], "little")

    def _are_many(self, choice: int) -> bool:
        # To pick out a third of them takes as long as to ask all.
        return 3 * choice.bit_count() > self.count

    def _bytes(self, choice: int) -> bytes:
        return choice.to_bytes(self.count, "little")

    def _coded(self, column: str) -> Coded | None:
        if column not in NUMBERS:
            return None
        if column not in self._codes:
            self._codes[column] = self._numbers().coded(NUMBERS.index(column))
        return self._codes[column]

    def _lines(self, column: str) -> Sequence[str]:
        found: list[str] = self.stored(column).split("\n")
        if len(found) != self.count:
            raise sqlite3.DatabaseError(f"a page has {len(found)} of {self.count} {column}")
        return found

    def _number(self, column: str) -> Sequence[float]:
        return self._numbers().values(NUMBERS.index(column))

    def _numbers(self) -> Numbers:
        if "read" not in self._stored:
            self._stored["read"] = Numbers(self.stored("numbers"), len(NUMBERS), self.count)
        found: Numbers = self._stored["read"]
        return found


def pages(index: Index) -> Iterator[Page]:
    """Every page, in order; ask inside one transaction of the index."""
    for row in index.read("SELECT number, count, first FROM page ORDER BY first, first_id"):
        yield Page(index, *row)
