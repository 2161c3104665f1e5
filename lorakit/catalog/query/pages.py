"""Pages: the adapters of the index in the order of their names, about a thousand on each, by column.

A condition is answered for a whole page at once, by calls that run through a column without Python's
help; what it needs no column of is never read. To change an adapter is to write its page anew.
"""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from math import nan
from typing import Any

from lorakit.catalog.query.index import DERIVED, NUMBERS, TEXTS, Index
from lorakit.catalog.query.patterns import EDGE

# A value for each of `TEXTS` and then of `NUMBERS`.
Row = tuple[Any, ...]
# Whether each of some values fits.
Fit = Callable[[Sequence[Any]], Iterable[bool]]
# What pages are sorted by: the folded name, with its edges, and the number of the adapter.
Key = tuple[str, int]
USUAL = 1024
_MOST = 1536
# By tag, the places on a page are kept as characters that JSON leaves alone, which are read at once.
_FIRST_SIGN = 0x100
_ID = len(TEXTS)
_WORD = re.compile(r"[^\W_]+")
# What a word without a field is looked for in, as the first of `TEXTS`.
_SEARCHED = 5


class Page:
    """One page, whose columns are read when they are asked for.

    A choice among its adapters is a number with a byte for each, 1 or 0, the first one lowest, so that
    choices are joined by `&`, `|` and `^`.
    """

    def __init__(self, index: Index, number: int, count: int) -> None:
        self._index = index
        self._stored: dict[str, Any] = {}
        self._values: dict[str, Sequence[Any]] = {}
        self.number = number
        self.count = count
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
            is_text = column in TEXTS or column in DERIVED
            found = self.stored(column).split("\n") if is_text else self._numbers(column)
            if len(found) != self.count:
                raise sqlite3.DatabaseError(f"a page has {len(found)} of {self.count} {column}")
            self._values[column] = found
        return self._values[column]

    def chosen(self, column: str, choice: int) -> Sequence[Any]:
        """The values of a column for those of a choice."""
        values = self.values(column)
        if choice == self.all:
            return values
        return list(compress(values, choice.to_bytes(self.count, "little")))

    def fitting(self, column: str, fit: Fit, among: int) -> int:
        """Those of a choice whose value in a column fits."""
        values = self.values(column)
        # To pick out a third of them takes as long as to ask all.
        if 3 * among.bit_count() > self.count:
            return among & int.from_bytes(bytes(fit(values)), "little")
        places = list(compress(range(self.count), among.to_bytes(self.count, "little")))
        return self._at(compress(places, fit([values[place] for place in places])))

    def tagged(self, tags: Iterable[str]) -> int:
        """Those with one of some tags."""
        known = self._tags()
        signs = "".join([known.get(tag, "") for tag in tags])
        return self._at(array("H", signs.encode("utf-16")[2:]), _FIRST_SIGN)

    def tags(self) -> Iterable[str]:
        """Every tag that one of them has."""
        return self._tags().keys()

    def _at(self, places: Iterable[int], first: int = 0) -> int:
        """Those at some places on the page, which are counted from `first`."""
        found = bytearray(first + self.count)
        for place in places:
            found[place] = 1
        return int.from_bytes(found[first:], "little")

    def _numbers(self, column: str) -> array[float]:
        size = 8 * self.count
        start = size * NUMBERS.index(column)
        return array("d", self.stored("numbers")[start : start + size])

    def _tags(self) -> dict[str, str]:
        if "tagged" not in self._stored:
            self._stored["tagged"] = json.loads(self.stored("tags"))
        found: dict[str, str] = self._stored["tagged"]
        return found


def words_of(text: str) -> list[str]:
    """Runs of letters and digits."""
    return _WORD.findall(text)


def pages(index: Index) -> Iterator[Page]:
    """Every page, in order; ask inside one transaction of the index."""
    for number, count in index.read("SELECT number, count FROM page ORDER BY first, first_id"):
        yield Page(index, number, count)


def change_pages(index: Index, gone: Iterable[Key], new: Iterable[Row]) -> None:
    """Take rows away by their keys, and put others in, inside a transaction of the index."""
    page_of = _places(index)
    changed: dict[int | None, tuple[set[Key], list[Row]]] = {}
    for key in gone:
        changed.setdefault(page_of(key), (set(), []))[0].add(key)
    for row in new:
        changed.setdefault(page_of(_key(row)), (set(), []))[1].append(row)
    for number, (out, into) in changed.items():
        _rewrite(index, number, out, into)


def rows_of(page: Page) -> list[Row]:
    """The rows of a page."""
    return list(zip(*(page.values(column) for column in (*TEXTS, *NUMBERS)), strict=True))


def mark_missing(index: Index, missing: Mapping[Key, bool]) -> bool:
    """Let pages know which files are missing, by the keys of adapters; whether that was news."""
    with index.reading():
        is_news = bool(_marks(index, missing))
    if is_news:
        with index.writing():
            index.write("UPDATE page SET numbers = ? WHERE number = ?", _marks(index, missing))
    return is_news


def _marks(index: Index, missing: Mapping[Key, bool]) -> list[tuple[object, ...]]:
    """The rows of pages that say something else of missing files, as they are to be."""
    page_of = _places(index)
    by_page: dict[int | None, dict[int, bool]] = {}
    for key, is_missing in missing.items():
        by_page.setdefault(page_of(key), {})[key[1]] = is_missing
    found: list[tuple[object, ...]] = []
    for page in _read_pages(index, by_page):
        ids, before = page.values("id"), list(page.values("missing"))
        marks = list(before)
        for number, is_missing in by_page[page.number].items():
            if number in ids:
                marks[ids.index(number)] = float(is_missing)
        if marks != before:
            columns = (marks if name == "missing" else page.values(name) for name in NUMBERS)
            found.append((_packed(columns), page.number))
    return found


def _places(index: Index) -> Callable[[Key], int | None]:
    """Which page the adapter with a key is on, or belongs on; None where there are no pages."""
    rows = index.read("SELECT first, first_id, number FROM page ORDER BY first, first_id")

    def page_of(key: Key) -> int | None:
        after = bisect_right(rows, key, key=lambda row: row[:2])
        return rows[max(after - 1, 0)][2] if rows else None

    return page_of


def _read_pages(index: Index, numbers: Iterable[int | None]) -> list[Page]:
    """Those of some pages that there are."""
    sql = "SELECT number, count FROM page WHERE number = ?"
    return [Page(index, *row) for number in numbers for row in index.read(sql, [number])]


def _rewrite(index: Index, number: int | None, gone: set[Key], new: list[Row]) -> None:
    old = [row for page in _read_pages(index, [number]) for row in rows_of(page)]
    rows = sorted([*(row for row in old if _key(row) not in gone), *new], key=_key)
    step = USUAL if len(rows) > _MOST else _MOST
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    if parts and parts[0] == old:
        # What comes after it is all that is new.
        del parts[0]
    else:
        index.write("DELETE FROM page WHERE number = ?", [(number,)])
    marks = ", ?" * (4 + len(TEXTS) + len(DERIVED))
    index.write(f"INSERT INTO page VALUES (NULL{marks})", [_stored(part) for part in parts])


def _key(row: Row) -> Key:
    return row[0], row[_ID]


def _stored(rows: Sequence[Row]) -> tuple[object, ...]:
    columns = list(zip(*rows, strict=True))
    texts = ["\n".join(column) for column in columns[:_ID]]
    text = "\n".join("".join(row[:_SEARCHED]) for row in rows)
    tagged: dict[str, str] = {}
    for sign, tags in enumerate(columns[TEXTS.index("tag")], start=_FIRST_SIGN):
        for tag in filter(None, tags.split(EDGE)):
            tagged[tag] = tagged.get(tag, "") + chr(sign)
    sieves = [_sieve(whole) for whole in (text, texts[-1])]
    tags_json = json.dumps(tagged, ensure_ascii=False, separators=(",", ":"))
    return (*_key(rows[0]), len(rows), _packed(columns[_ID:]), tags_json, *sieves, text, *texts)


def _sieve(text: str) -> str:
    """Each word of a text once, between spaces: whatever `words_of` finds in a part of it is in one."""
    # Edges and ends of lines are white space too. This is a third of the time of an expression.
    return " ".join(dict.fromkeys(text.replace("_", " ").replace("/", " ").split()))


def _packed(columns: Iterable[Sequence[Any]]) -> bytes:
    """Numbers as bytes, with NaN for none, which fits no comparison; any text of them is slow to read."""
    return b"".join(
        array("d", [nan if v is None else v for v in column] if None in column else column)
        for column in columns
    )
