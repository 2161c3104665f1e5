"""Days and spans of time as people write them in a query."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RELATIVE = re.compile(r"-(\d{1,5})([hdwmy])")
_ABSOLUTE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_DAYS = {"today": 0, "yesterday": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HINT = (
    "Write 2026, 2026-11, 2026-11-23, today, yesterday or -30d (h, d, w, m, y), or a range of two."
)


def is_relative(text: str) -> bool:
    """Whether `text` is a length of time before now, such as `-30d`."""
    return _RELATIVE.fullmatch(text) is not None


def is_absolute(text: str) -> bool:
    """Whether `text` may be a year, month or day of the calendar, whatever day it is now."""
    return _ABSOLUTE.fullmatch(text) is not None


def span_of(text: str, now: datetime) -> tuple[datetime, datetime]:
    """The first moment of what `text` says, and the first after it, in UTC.

    `now` is aware; days are those of its zone. A relative one is a moment. Raises `ValueError`.
    """
    if found := _RELATIVE.fullmatch(text):
        moment = _before(now, int(found[1]), found[2]).astimezone(UTC)
        return moment, moment
    if text in _DAYS:
        day = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(_DAYS[text])
        return _utc(day), _utc(day + timedelta(1))
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute is None or not 1 < int(absolute[1]) < 9999:
        raise ValueError(f"{text!r} is no date")
    year, month, day_number = (int(part) if part else None for part in absolute.groups())
    assert year is not None
    first = datetime(year, month or 1, day_number or 1)
    if day_number:
        after = first + timedelta(1)
    elif month:
        after = datetime(year + month // 12, month % 12 + 1, 1)
    else:
        after = datetime(year + 1, 1, 1)
    return _local(first, now), _local(after, now)


def microseconds(moment: datetime) -> int:
    """An aware moment as a number that sorts, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _before(now: datetime, count: int, unit: str) -> datetime:
    days = {"h": count / 24, "d": count, "w": 7 * count, "m": 30.4375 * count, "y": 365.25 * count}
    try:
        return now - timedelta(days[unit])
    except OverflowError as error:
        raise ValueError(f"{count}{unit} is too long ago") from error


def _local(naive: datetime, now: datetime) -> datetime:
    return _utc(naive.replace(tzinfo=now.tzinfo))


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
