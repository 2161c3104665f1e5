"""A query in parts, and back as text."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

GLOB = re.compile(r"[*?]")
# What can be written without quotes and is read again as it was: after a colon, alone, and negated.
_PLAIN_VALUE = re.compile(r"(?![\"'])\S*[^\s,]")
_PLAIN = re.compile(r"(?![\"'^-]|[A-Za-z][\w-]*:)\S*[^\s,]")
_PLAIN_NEGATED = re.compile(r"(?![\"']|[A-Za-z][\w-]*:)\S*[^\s,]")


@dataclass(frozen=True, slots=True)
class Text:
    """A text to look for; its `*` and `?` stand for any text and any character unless `literal`."""

    text: str
    literal: bool = False

    @property
    def is_glob(self) -> bool:
        """Whether something in it stands for other characters."""
        return not self.literal and GLOB.search(self.text) is not None

    def written(self, plain: re.Pattern[str] = _PLAIN_VALUE) -> str:
        """As it is written in a query, with quotes where they are needed."""
        if not self.literal and plain.fullmatch(self.text):
            return self.text
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`, both included; None has no bound."""

    low: int | float | None
    high: int | float | None

    def written(self) -> str:
        """As it is written in a query."""
        if self.low == self.high and self.low is not None:
            return str(self.low)
        return f"{'' if self.low is None else self.low}..{'' if self.high is None else self.high}"


@dataclass(frozen=True, slots=True)
class Dates:
    """From the beginning of `low` to the end of `high`, as `lorakit.catalog.query.dates` reads them."""

    low: str | None
    high: str | None

    def written(self) -> str:
        """As it is written in a query."""
        # A length of time before now, alone, is all the time since.
        if self.low and self.low == self.high and not self.low.startswith("-"):
            return self.low
        return f"{self.low or ''}..{self.high or ''}"


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    wanted: bool

    def written(self) -> str:
        """As it is written in a query."""
        return "yes" if self.wanted else "no"


Value = Text | Span | Dates | Flag


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: `value` in `field`, or in what bare words search where that is None.

    `at` is where it stood in the text, from 0; terms that differ in nothing else are equal.
    """

    field: str | None
    value: Value
    negated: bool = False
    at: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        sign = "-" if self.negated else ""
        if self.field is None:
            assert isinstance(self.value, Text)
            plain = _PLAIN_NEGATED if self.negated and self.value.is_glob else _PLAIN
            return sign + self.value.written(plain)
        return f"{sign}{self.field}:{self.value.written()}"


@dataclass(frozen=True, slots=True)
class Sort:
    """An order, by a field."""

    field: str
    descending: bool = False

    def __str__(self) -> str:
        return f"sort:{self.field}{'-' if self.descending else '+'}"


@dataclass(frozen=True, slots=True)
class Query:
    """What fits all terms of one of `groups`; everything, where there are none."""

    groups: tuple[tuple[Term, ...], ...] = ()
    sorts: tuple[Sort, ...] = ()

    def __str__(self) -> str:
        groups = ", ".join(" ".join(map(str, group)) for group in self.groups)
        return " ".join(filter(None, [groups, *map(str, self.sorts)]))

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms of all groups."""
        return tuple(term for group in self.groups for term in group)

    def asks(self, *fields: str) -> bool:
        """Whether a term names one of `fields`."""
        return any(term.field in fields for term in self.terms)
