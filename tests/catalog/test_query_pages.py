"""What a page of the index is made of: numbers as bytes, lines that an expression fits, words looked for."""

from __future__ import annotations

import sqlite3
from math import isnan, nan
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorakit.catalog.query.numbers import Numbers, pack
from lorakit.catalog.query.patterns import compiled, lines_with
from lorakit.catalog.query.sieves import marks_of, sieved, signature, words_of

FEW = (None, nan, 0.0, -0.0, 4, 8.5)


def plain(numbers: object) -> list[float | None]:
    assert isinstance(numbers, list)
    return [None if number is None or isnan(number) else float(number) for number in numbers]


@pytest.mark.parametrize("count", [1, 7, 256, 257, 600])
def test_numbers_are_read_as_they_were_packed(count: int) -> None:
    random = Random(count)
    few = [random.choice(FEW) for _ in range(count)]
    many = [random.choice((*FEW, random.randrange(10**15))) for _ in range(count)]
    columns = (few, many, list(range(count)))
    read = Numbers(pack(columns), len(columns), count)
    assert [read.coded(place) is None for place in (0, 2)] == [False, count > 256]
    for place, column in enumerate(columns):
        assert plain(list(read.values(place))) == plain(column)
        if coded := read.coded(place):
            kinds, codes = coded
            assert plain([kinds[code] for code in codes]) == plain(column)


@pytest.mark.parametrize("count", [3, 300])
def test_numbers_that_are_cut_off_are_refused(count: int) -> None:
    whole = pack([range(count)])
    for length in range(len(whole)):
        with pytest.raises((ValueError, LookupError, sqlite3.DatabaseError)):
            Numbers(whole[:length], 1, count).values(0)


patterns = st.text("*?ab", min_size=1, max_size=6).filter(lambda text: text.strip("*"))
parts = st.lists(st.text("ab", max_size=4), max_size=2)


@example("?", [[], [], ["a"]])
@example("?*", [["aa"], ["a"]])
@given(pattern=patterns, lines=st.lists(parts, min_size=1, max_size=8))
def test_the_lines_of_a_page_that_a_pattern_fits(pattern: str, lines: list[list[str]]) -> None:
    texts = ["".join(f"\x1f{part}\x1f" for part in line) for line in lines]
    expression = compiled(pattern)
    found = lines_with(expression, "\n".join(texts))
    each = [number for number, text in enumerate(texts) if expression.search(text)]
    # What fits nothing but ends of lines has to be asked line by line.
    assert found == each or (found is None and set(pattern) <= set("*?"))


@given(
    texts=st.lists(st.text("abc_-/ é墨", max_size=12), max_size=6),
    others=st.lists(st.text("abc_-/ é墨", max_size=12), max_size=6),
    ends=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_what_is_in_a_text_is_never_passed_over(
    texts: list[str], others: list[str], ends: tuple[int, int]
) -> None:
    before = signature(sieved("\n".join(others)))
    words = sieved("\n".join(texts))
    signed = signature(words, before)
    for text in texts:
        wanted = text[min(ends) : max(ends)]
        assert all(signed[at] & bit for at, bit in marks_of(wanted))
        assert all(any(part in word for word in words) for part in words_of(wanted))
    assert all(signed[at] & bit for text in others for at, bit in marks_of(text))


def test_most_of_what_is_in_no_text_is_passed_over() -> None:
    signed = signature(sieved(" ".join(f"style_{number:06}_v2" for number in range(1000))))
    absent = [f"{number:06}" for number in range(123_456, 1_000_000, 7919)]
    passed = [text for text in absent if all(signed[at] & bit for at, bit in marks_of(text))]
    assert len(passed) < len(absent) / 10
