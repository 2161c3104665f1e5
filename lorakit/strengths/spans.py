"""Spans of whole numbers, both ends included: `0-9`, `5`, and `9-` for everything from 9 on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from lorakit.errors import BadUsage

_SPAN = re.compile(r"([0-9]{1,4})(?:(-)([0-9]{1,4})?)?")


class Span(NamedTuple):
    """The whole numbers from `first` to `last`, both included; without a `last`, all from `first` on."""

    first: int
    last: int | None

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number and number <= self.end

    def __str__(self) -> str:
        if self.last == self.first:
            return str(self.first)
        return f"{self.first}-" if self.last is None else f"{self.first}-{self.last}"

    @property
    def end(self) -> float:
        """The last number, or infinity."""
        return float("inf") if self.last is None else self.last


def parse_span(text: str) -> Span:
    """`0-9`, `5` or `9-` as a span. Raises `BadUsage` for anything else, and for `9-0`."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise BadUsage(f"{text!r} is not a range.", hint="Write 0-9, 5, or 9- for all from 9 on.")
    first = int(match[1])
    last = first if match[2] is None else int(match[3]) if match[3] else None
    return checked_span(Span(first, last))


def checked_span(span: Span) -> Span:
    """`span` itself. Raises `BadUsage` when it starts below 0 or ends before it starts."""
    if span.first < 0 or span.end < span.first:
        raise BadUsage(
            f"The range {span} ends before it starts.", hint="Write the lower end first."
        )
    return span


def require_apart(spans: Iterable[Span]) -> None:
    """Raise `BadUsage` when two of `spans`, which are in order, share a number."""
    before: Span | None = None
    for span in spans:
        if before is not None and span.first <= before.end:
            raise BadUsage(
                f"The ranges {before} and {span} overlap.", hint="Give every block one factor."
            )
        before = span


def joined_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same numbers in the fewest spans, in order."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.first, span.end)):
        checked_span(span)
        if found and span.first <= found[-1].end + 1:
            last = found[-1] if found[-1].end >= span.end else span
            found[-1] = Span(found[-1].first, last.last)
        else:
            found.append(span)
    return tuple(found)
