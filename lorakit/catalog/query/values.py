"""What stands after a field's colon, read as the field asks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from lorakit.catalog.naming import close_names
from lorakit.catalog.query.dates import HINT as DATE_HINT
from lorakit.catalog.query.dates import is_absolute, is_relative, span_of
from lorakit.catalog.query.fields import Field, Shape
from lorakit.catalog.query.syntax import GLOB, Dates, Flag, Span, Text, Value

_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_UNITS |= {f"{unit}b": _UNITS[unit] for unit in "kmg"}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?\s*([a-z]{0,3})")
_WHOLE = re.compile(r"\d{1,15}")
_YES = {"yes": True, "true": True, "y": True, "1": True}
_NO = {"no": False, "false": False, "n": False, "0": False}
# Any day will do to find out what holds on every day: from its first moment to its last.
_SOME_DAY = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, 23, 59, 59, tzinfo=UTC))
T = TypeVar("T", int, float)


class BadValue(ValueError):
    """A value that its field cannot have; `hint` says what can stand there."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def read_value(field: Field, text: str, quoted: bool) -> Value:
    """The value that `text` is for `field`. Raises `BadValue`."""
    return _READERS[field.shape](field, text, quoted)


def text_value(text: str, quoted: bool) -> Text:
    """A text; quotes make its `*` and `?` mean themselves."""
    return Text(text, quoted and GLOB.search(text) is not None)


def _text(_: Field, text: str, quoted: bool) -> Text:
    return text_value(text, quoted)


def _choice(field: Field, text: str, quoted: bool) -> Text:
    found = text.casefold()
    if found not in field.choices:
        close = close_names(found, field.choices) or field.choices
        raise BadValue(f"{text!r} is no {field.name}", f"There are: {', '.join(close)}.")
    return Text(found)


def _hash(_: Field, text: str, quoted: bool) -> Text:
    found = text.casefold()
    if not re.fullmatch(r"[0-9a-f]{1,64}", found):
        raise BadValue(
            f"{text!r} cannot begin a hash", "A hash has up to 64 of the digits 0-9 and a-f."
        )
    return Text(found)


def _count(field: Field, text: str, quoted: bool) -> Span:
    hint = f"Write a number or a range: {field.name}:8, {field.name}:8..32, {field.name}:8..."
    return _span(text, _whole, hint[:-1])


def _size(_: Field, text: str, quoted: bool) -> Span:
    """A size means what rounds to it, as sizes are shown; the end of a range does if it has decimals."""
    hint = "Write a size or a range of sizes: size:..50MB, size:1MB..2.5GB"
    exact = ".." in text
    return _span(text, lambda one: _bytes(one, exact)[0], hint, lambda one: _bytes(one, exact)[1])


def _number(field: Field, text: str, quoted: bool) -> Span:
    return _span(text, _real, f"Write a number or a range: {field.name}:0.8, {field.name}:0.5..1")


def _flag(field: Field, text: str, quoted: bool) -> Flag:
    found = (_YES | _NO).get(text.casefold())
    if found is None:
        raise BadValue(f"{text!r} is neither yes nor no", f"Write {field.name}:yes or :no.")
    return Flag(found)


def _dates(_: Field, text: str, quoted: bool) -> Dates:
    found = text.casefold()
    low, dots, high = found.partition("..")
    ends = [end for end in (low, high) if end]
    for end in ends:
        try:
            span_of(end, _SOME_DAY[0])
        except ValueError as error:
            raise BadValue(f"{end!r} is no date", DATE_HINT) from error
    if low and high and _is_reversed(low, high):
        raise BadValue(f"{text!r} ends before it begins", DATE_HINT)
    if dots:
        return Dates(low or None, high or None)
    # A length of time before now begins then; a day or a month is meant as a whole.
    return Dates(low, None if is_relative(low) else low)


def _is_reversed(low: str, high: str) -> bool:
    """Whether `low` begins after `high` has ended, whatever day and time it is."""
    if is_absolute(low) != is_absolute(high):
        return False
    for now in _SOME_DAY:
        (begin, _), (last, end) = span_of(low, now), span_of(high, now)
        # A length of time before now is a moment, with no time from its beginning to its end.
        if begin < end or begin == last:
            return False
    return True


def _span(
    text: str, read: Callable[[str], T], hint: str, read_end: Callable[[str], T] | None = None
) -> Span:
    """A number, or a range whose end is read by `read_end`, where that differs."""
    low, dots, high = text.casefold().partition("..")
    end = high if dots else low
    try:
        span = Span(read(low) if low else None, (read_end or read)(end) if end else None)
    except (ValueError, OverflowError) as error:
        raise BadValue(f"{text!r} is neither a number nor a range", hint) from error
    if span.low is not None and span.high is not None and span.low > span.high:
        raise BadValue(f"{text!r} ends before it begins", hint)
    return span


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text) or not text.isascii():
        raise ValueError(text)
    return int(text)


def _bytes(text: str, exact: bool) -> tuple[int, int]:
    """The smallest and the largest size that round to a text such as `16.6kB`.

    Both are the size itself without a unit, and for a whole number that is to be taken exactly.
    """
    found = _SIZE.fullmatch(text)
    if found is None or found[3] not in _UNITS or not text.isascii():
        raise ValueError(text)
    whole, decimals, unit = found[1], found[2] or "", _UNITS[found[3]]
    if decimals and not found[3]:
        raise ValueError(text)
    value, step = int(whole + decimals), 10 ** len(decimals)
    if not found[3] or (exact and not decimals):
        return value * unit, value * unit
    # Half of its last digit to either side, in whole bytes.
    least = max(0, -((1 - 2 * value) * unit // (2 * step)))
    return least, (2 * value + 1) * unit // (2 * step)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_READERS: Mapping[Shape, Callable[[Field, str, bool], Value]] = {
    "text": _text,
    "exact": _text,
    "choice": _choice,
    "hash": _hash,
    "count": _count,
    "size": _size,
    "number": _number,
    "flag": _flag,
    "date": _dates,
}
