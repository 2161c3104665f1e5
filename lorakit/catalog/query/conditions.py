"""One term to a test, which says of a whole page which of its adapters fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import repeat
from math import inf
from operator import ge, le
from typing import assert_never

from lorakit.catalog.query.dates import microseconds, span_of
from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.pages import Fit, Page
from lorakit.catalog.query.patterns import EDGE, compiled, fits, fixed_texts, is_simple
from lorakit.catalog.query.shared import (
    Shares,
    Sql,
    has_part,
    holds,
    is_whole,
    of_blocks,
    of_hash,
    of_license,
)
from lorakit.catalog.query.sieves import marks_of, words_of
from lorakit.catalog.query.syntax import Dates, Flag, Span, Term, Text

TEXT_FIELDS = ("text", "name", "title", "note", "trigger", "path")
# Shorter than that, what a pattern holds for certain is in most texts.
_TELLING = 3
# Which of a choice fit.
Test = Callable[[Page, int], int]
# From the few to the many, which SQLite cannot know without being told.
_TWICE = Sql("SELECT item FROM twice CROSS JOIN file ON file.content = twice.content")


@dataclass(frozen=True, slots=True)
class Context:
    """What a test needs beside its term.

    `now` is aware. `numbers` are those that a SELECT over the index finds. `smart` gives the tests of
    the smart collections of a name.
    """

    now: datetime
    numbers: Callable[[Sql], frozenset[int]]
    shares: Callable[[], Shares]
    smart: Callable[[Text], Sequence[Test]]


def test_of(term: Term, context: Context) -> Test:
    """The test of a term."""
    test = _plain(term, context)
    return none_of(test) if term.negated else test


def any_of(tests: Sequence[Test]) -> Test:
    """Whether one of some tests says so."""

    def test(page: Page, among: int) -> int:
        left = among
        for one in tests:
            left ^= one(page, left)
            if not left:
                break
        return among ^ left

    return test


def all_of(tests: Sequence[Test]) -> Test:
    """Whether all of some tests say so."""

    def test(page: Page, among: int) -> int:
        for one in tests:
            among = one(page, among)
            if not among:
                break
        return among

    return test


def any_tag(values: Sequence[Text]) -> Test:
    """Whether one of the tags is one of some texts, or as one of some patterns says."""
    whole = {fold(value.text) for value in values if not value.is_glob}
    patterns = [fold(value.text) for value in values if value.is_glob]
    if not patterns:
        return lambda page, among: among & page.tagged(whole)
    # The same few tags are on most pages.
    is_wanted = cache(lambda tag: tag in whole or any(fits(one, tag) for one in patterns))
    return lambda page, among: among & page.tagged(filter(is_wanted, page.tags()))


def none_of(test: Test) -> Test:
    """Whether a test says no."""
    return lambda page, among: among ^ test(page, among)


def _where(column: str, fit: Fit) -> Test:
    return lambda page, among: page.fitting(column, fit, among)


def _plain(term: Term, context: Context) -> Test:
    value = term.value
    match value:
        case Text():
            return _text(term.field or "text", value, context)
        case Span():
            return _span(term.field or "", value, context)
        case Dates():
            return _dates(value, context.now)
        case Flag():
            return _flag(term.field or "", value, context)
        case _:
            assert_never(value)


def _text(field: str, value: Text, context: Context) -> Test:
    if field in TEXT_FIELDS:
        return (
            _fitting(field, fold(value.text)) if value.is_glob else _having(field, fold(value.text))
        )
    if field == "tag":
        return any_tag([value])
    if field == "base":
        return _of("facet", holds("base", value), context)
    if field in ("algo", "layout", "dtype"):
        return _of("facet", is_whole(field, value), context)
    if field == "component":
        return _of("facet", has_part("components", value), context)
    if field == "kind":
        return _of("touch", has_part("kinds", value), context)
    if field == "collection":
        found = is_whole("collection", value).within("SELECT item FROM collected WHERE ", "")
        return any_of([_among("id", context.numbers(found)), *context.smart(value)])
    if field == "hash":
        return _among("id", context.numbers(of_hash(value.text)))
    assert field == "license", field
    if value.is_glob or value.literal or fold(value.text) not in ("allow", "deny", "unknown"):
        return _of("terms", has_part("licenses", value), context)
    return _of("terms", of_license(value, context.shares()), context)


def _having(column: str, wanted: str) -> Test:
    """The column holds the text."""
    longest = max(words_of(wanted), key=len, default="")
    marks = marks_of(wanted)
    looked_at = "path" if column == "path" else "text"
    signature, sieve = f"{looked_at}_signature", f"{looked_at}_words"

    def test(page: Page, among: int) -> int:
        signed = page.stored(signature)
        for at, bit in marks:
            if not signed[at] & bit:
                return 0
        if longest not in page.stored(sieve):
            return 0
        return page.fitting(column, lambda texts: [wanted in text for text in texts], among)

    return test


def _fitting(column: str, pattern: str) -> Test:
    """A part of the column is as the pattern says."""
    if not pattern.strip("*"):
        return _where(column, lambda texts: [text != "" for text in texts])
    fixed = fixed_texts(pattern)
    if is_simple(pattern):
        return all_of([_having(column, text) for text in fixed])
    expression = compiled(pattern)
    telling = [_having(column, text) for text in fixed if len(text.strip(EDGE)) >= _TELLING]
    return all_of([*telling, lambda page, among: page.matching(column, expression, among)])


def _of(table: str, sql: Sql, context: Context) -> Test:
    return _among(table, context.numbers(sql.within(f"SELECT id FROM {table} WHERE ", "")))


def _among(column: str, numbers: frozenset[int]) -> Test:
    if not numbers:
        return lambda page, among: 0
    return _where(column, lambda values: map(numbers.__contains__, values))


def _span(field: str, span: Span, context: Context) -> Test:
    if field in ("block", "all-blocks", "only-blocks"):
        return _of("touch", of_blocks(field, span), context)
    if field == "rank":
        lowest = _between("rank_min", None, span.high)
        return all_of([_between("rank_max", span.low, None), lowest])
    return _between(field, span.low, span.high)


def _between(column: str, low: float | None, high: float | None) -> Test:
    """The column has a number from `low` to `high`, both included."""
    # NaN is neither more nor less than anything.
    if high is None and low is not None:
        return _where(column, lambda numbers: map(ge, numbers, repeat(low)))
    if low is None and high is not None:
        return _where(column, lambda numbers: map(le, numbers, repeat(high)))
    least, most = -inf if low is None else low, inf if high is None else high
    return _where(column, lambda numbers: [least <= number <= most for number in numbers])


def _dates(value: Dates, now: datetime) -> Test:
    low = microseconds(span_of(value.low, now)[0]) if value.low else None
    # What follows the last moment is not within.
    high = microseconds(span_of(value.high, now)[1]) - 1 if value.high else None
    return _between("added", low, high)


def _flag(field: str, value: Flag, context: Context) -> Test:
    wanted = value.wanted
    if field != "duplicate":
        return _where(field, lambda marks: [mark == wanted for mark in marks])
    several = _where("places", lambda counts: [count > 1 for count in counts])
    found = any_of([several, _among("id", context.numbers(_TWICE))])
    return found if wanted else none_of(found)
