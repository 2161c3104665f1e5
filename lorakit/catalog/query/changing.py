"""Changing pages: a page on which adapters only say something else is patched, any other is made anew."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lorakit.catalog.query.index import NUMBERS, TEXTS, Index
from lorakit.catalog.query.numbers import pack
from lorakit.catalog.query.pages import FIRST_SIGN, MOST, Page
from lorakit.catalog.query.patterns import EDGE
from lorakit.catalog.query.sieves import sieved, signature

# A value for each of `TEXTS` and then of `NUMBERS`.
Row = tuple[Any, ...]
# What pages are sorted by: the folded name, with its edges, and the number of the adapter.
Key = tuple[str, int]
USUAL = 1024
_ID = len(TEXTS)
# What a word without a field is looked for in, as the first of `TEXTS`.
_SEARCHED = 5


def change_pages(index: Index, gone: Iterable[Key], new: Iterable[Row]) -> None:
    """Take rows away by their keys, and put others in, inside a transaction of the index."""
    page_of = _places(index)
    changed: dict[int | None, tuple[set[Key], list[Row]]] = {}
    for key in gone:
        changed.setdefault(page_of(key), (set(), []))[0].add(key)
    for row in new:
        changed.setdefault(page_of(_key(row)), (set(), []))[1].append(row)
    for number, (out, into) in changed.items():
        page = next(iter(_read_pages(index, [number])), None)
        rows = {_key(row): row for row in into}
        if page and out == rows.keys() and out <= set(_keys(page)):
            _patch(index, page, rows)
        else:
            _rewrite(index, page, out, into)


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
        wanted, before = by_page[page.number], page.values("missing")
        news = {
            place: float(wanted[number])
            for place, number in enumerate(page.values("id"))
            if number in wanted and before[place] != wanted[number]
        }
        if news:
            marks = [news.get(place, mark) for place, mark in enumerate(before)]
            columns = (marks if name == "missing" else page.values(name) for name in NUMBERS)
            found.append((pack(columns), page.number))
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
    sql = "SELECT number, count, first FROM page WHERE number = ?"
    return [Page(index, *row) for number in numbers for row in index.read(sql, [number])]


def _rewrite(index: Index, page: Page | None, gone: set[Key], new: list[Row]) -> None:
    old = rows_of(page) if page else []
    rows = sorted([*(row for row in old if _key(row) not in gone), *new], key=_key)
    step = USUAL if len(rows) > MOST else MOST
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    if parts and parts[0] == old:
        # What comes after it is all that is new.
        del parts[0]
    elif page:
        index.write("DELETE FROM page WHERE number = ?", [(page.number,)])
    for part in parts:
        values = _stored(part)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO page ({', '.join(values)}) VALUES ({marks})"
        index.write(sql, [tuple(values.values())])


def _patch(index: Index, page: Page, rows: Mapping[Key, Row]) -> None:
    """Put rows in place of those with the same keys: of columns that do not change nothing is made anew."""
    new = {place: rows[key] for place, key in enumerate(_keys(page)) if key in rows}
    columns = _columns(page, new)
    changed: dict[str, object] = {
        name: "\n".join(columns[name]) for name in TEXTS if name in columns
    }
    if columns.keys() & set(NUMBERS):
        changed["numbers"] = pack(columns.get(name, page.values(name)) for name in NUMBERS)
    if columns.keys() & set(TEXTS[:_SEARCHED]):
        lines = list(page.values("text"))
        for place, row in new.items():
            lines[place] = _searched(row)
        changed["text"] = "\n".join(lines)
        changed |= _words("text", [_searched(row) for row in new.values()], page)
    if "path" in columns:
        changed |= _words("path", [row[_SEARCHED] for row in new.values()], page)
    if "tag" in columns:
        changed["tags"] = _retagged(page, columns["tag"], new)
    if changed:
        sets = ", ".join(f"{name} = ?" for name in changed)
        index.write(f"UPDATE page SET {sets} WHERE number = ?", [(*changed.values(), page.number)])


def _columns(page: Page, new: Mapping[int, Row]) -> dict[str, list[Any]]:
    """Those columns of a page that change with new rows at some places, as they are to be."""
    found: dict[str, list[Any]] = {}
    for column, name in enumerate((*TEXTS, *NUMBERS)):
        before = page.values(name)
        is_as = str.__eq__ if name in TEXTS else _is
        if not all(is_as(before[place], row[column]) for place, row in new.items()):
            found[name] = list(before)
            for place, row in new.items():
                found[name][place] = row[column]
    return found


def _retagged(page: Page, tags: Sequence[str], places: Iterable[int]) -> str:
    """The adapters of a page by tag, after those at some places got other tags."""
    known = page.places_by_tag()
    for place in places:
        sign = chr(FIRST_SIGN + place)
        before, after = (set(_tags(column[place])) for column in (page.values("tag"), tags))
        for tag in before - after:
            known[tag] = known[tag].replace(sign, "")
        for tag in after - before:
            known[tag] = known.get(tag, "") + sign
    return _tagged({tag: signs for tag, signs in known.items() if signs})


def _keys(page: Page) -> Iterable[Key]:
    return zip(page.values("name"), page.values("id"), strict=True)


def _key(row: Row) -> Key:
    return row[0], row[_ID]


def _stored(rows: Sequence[Row]) -> dict[str, object]:
    """The columns of a page of these rows."""
    columns = list(zip(*rows, strict=True))
    texts = {name: "\n".join(column) for name, column in zip(TEXTS, columns, strict=False)}
    lines = [_searched(row) for row in rows]
    tagged: dict[str, str] = {}
    for sign, tags in enumerate(columns[TEXTS.index("tag")], start=FIRST_SIGN):
        for tag in _tags(tags):
            tagged[tag] = tagged.get(tag, "") + chr(sign)
    first, first_id = _key(rows[0])
    return {
        "first": first,
        "first_id": first_id,
        "count": len(rows),
        "numbers": pack(columns[_ID:]),
        "tags": _tagged(tagged),
        "text": "\n".join(lines),
        **_words("text", lines),
        **_words("path", columns[_SEARCHED]),
        **texts,
    }


def _searched(row: Row) -> str:
    return "".join(row[:_SEARCHED])


def _tags(column: str) -> Iterable[str]:
    return filter(None, column.split(EDGE))


def _tagged(places: Mapping[str, str]) -> str:
    return json.dumps(places, ensure_ascii=False, separators=(",", ":"))


def _words(column: str, texts: Iterable[str], page: Page | None = None) -> dict[str, object]:
    """The sieve and the signature of some texts, or of a page with them.

    What the page held in their place stays in both, which makes them no less true.
    """
    words = sieved("\n".join(texts))
    if page is None:
        return _looks(column, words, signature(words))
    before = dict.fromkeys(page.stored(f"{column}_words").split())
    new = [word for word in words if word not in before]
    return _looks(column, [*before, *new], signature(new, page.stored(f"{column}_signature")))


def _looks(column: str, words: Iterable[str], signed: bytes) -> dict[str, object]:
    return {f"{column}_words": " ".join(words), f"{column}_signature": signed}


def _is(number: float, value: float | None) -> bool:
    """Whether a number of a page is what a row says."""
    return number != number if value is None or value != value else number == value
