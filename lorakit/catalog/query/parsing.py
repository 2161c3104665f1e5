"""Text to a query.

Words are joined by AND, a comma at the end of a word or alone is OR between groups, `-` or `^` negates.
A quote counts where a text begins, so that an apostrophe is a letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorakit.catalog.naming import close_names
from lorakit.catalog.query.fields import BY_NAME, SORT, SORTABLE
from lorakit.catalog.query.syntax import Query, Sort, Term, Text
from lorakit.catalog.query.values import BadValue, read_value, text_value
from lorakit.errors import BadUsage

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"([A-Za-z][\w-]*):")
_BARE = re.compile(r"\S+")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_LONGEST = 10_000
_MOST_TERMS = 200


class BadQuery(BadUsage):
    """A text that is no query; `at` is where, from 0, and the message says so."""

    def __init__(self, message: str, text: str, at: int, *, hint: str | None = None) -> None:
        super().__init__(f"{message} (character {at + 1} of the query {text!r}).", hint=hint)
        self.at = at


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of the query: its field or None, its text, where each begins and the text ends.

    "," is a comma alone.
    """

    field: str | None
    text: str
    quoted: bool
    negated: bool
    at: int
    value_at: int
    end: int

    @property
    def is_comma(self) -> bool:
        return self.field is None and self.text == "," and not self.quoted


def parse(text: str) -> Query:
    """The query that `text` says; an empty one fits everything. Raises `BadQuery`."""
    if len(text) > _LONGEST:
        raise BadQuery(f"The query is longer than {_LONGEST} characters", text[:40], _LONGEST)
    groups: list[list[Term]] = [[]]
    sorts: list[Sort] = []
    sorted_only = False
    comma_at = 0
    for word in _words(text):
        if word.is_comma:
            if not groups[-1] and not sorted_only:
                raise BadQuery("There is nothing before the comma", text, word.at)
            groups.append([])
            comma_at, sorted_only = word.at, False
        elif word.field == SORT:
            sorts.append(_sort(word, text))
            sorted_only = True
        else:
            groups[-1].append(_term(word, text))
    if len(groups) > 1 and not groups[-1] and not sorted_only:
        raise BadQuery("There is nothing after the comma", text, comma_at)
    query = Query(tuple(tuple(group) for group in groups if group), tuple(sorts))
    if len(query.terms) > _MOST_TERMS:
        at = query.terms[_MOST_TERMS].at
        raise BadQuery(f"The query has more than {_MOST_TERMS} conditions", text, at)
    return query


def places_of(text: str, field: str) -> Iterator[tuple[Text, int, int]]:
    """What a query asks of a field that takes text: each value, where it begins, and where it ends.

    `field` is the field's own name. Raises `BadQuery` for a text that is no query.
    """
    parse(text)
    for word in _words(text):
        known = BY_NAME.get(word.field) if word.field is not None else None
        if known is not None and known.name == field:
            yield text_value(word.text, word.quoted), word.value_at, word.end


def _words(text: str) -> Iterator[_Word]:
    at = _space_end(text, 0)
    while at < len(text):
        word, end = _word(text, at)
        stripped = word.text.rstrip(",") if not word.quoted else word.text
        commas = len(word.text) - len(stripped)
        if stripped or word.quoted or word.field:
            yield replace(word, text=stripped, end=end - commas)
        for number in range(commas):
            yield _comma(end - commas + number)
        while end < len(text) and text[end] == ",":
            yield _comma(end)
            end += 1
        at = _space_end(text, end)


def _comma(at: int) -> _Word:
    return _Word(None, ",", False, False, at, at, at + 1)


def _word(text: str, at: int) -> tuple[_Word, int]:
    """The word that begins at `at`, commas at its end included unless it is quoted, and where it ends."""
    start = at
    rest = _BARE.match(text, at + 1)
    negated = text[at] in "-^" and rest is not None and bool(rest[0].strip(","))
    at += negated
    field = _FIELD.match(text, at)
    value_at = field.end() if field else at
    name = field[1].casefold() if field else None
    if text[value_at : value_at + 1] in ('"', "'"):
        value, end = _quoted(text, value_at)
        return _Word(name, value, True, negated, start, value_at, end), end
    bare = _BARE.match(text, value_at)
    value, end = (bare[0], bare.end()) if bare else ("", value_at)
    return _Word(name, value, False, negated, start, value_at, end), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    found = _QUOTED.match(text, at)
    if found is None:
        raise BadQuery("The quote is not closed", text, at, hint=f"Add a {text[at]} where it ends.")
    end = found.end()
    if end < len(text) and text[end] != "," and not text[end].isspace():
        raise BadQuery("A space or a comma is missing after the quote", text, end)
    inside = re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)
    if not inside.strip():
        raise BadQuery("There is nothing between the quotes", text, at)
    return inside, end


def _space_end(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _term(word: _Word, text: str) -> Term:
    if word.field is None:
        return Term(None, text_value(word.text, word.quoted), word.negated, word.at)
    field = BY_NAME.get(word.field)
    if field is None:
        raise BadQuery(
            f"There is no field {word.field!r}", text, word.at, hint=_field_hint(word.field)
        )
    if not word.text:
        raise BadQuery(
            f"There is nothing after {word.field}:",
            text,
            word.value_at,
            hint=f"Write it without a space, as in {field.example}",
        )
    try:
        value = read_value(field, word.text, word.quoted)
    except BadValue as error:
        message = f"{word.field}: {error}"
        raise BadQuery(message, text, word.value_at, hint=error.hint) from error
    return Term(field.name, value, word.negated, word.at)


def _sort(word: _Word, text: str) -> Sort:
    name, descending = word.text.casefold(), False
    if name[-1:] in ("-", "+"):
        name, descending = name[:-1], name[-1] == "-"
    field = BY_NAME.get(name)
    if field is None or not field.sortable or word.negated:
        listed = ", ".join(SORTABLE)
        hint = f"Sort by one of {listed}; sort:rank- begins with the largest."
        raise BadQuery(f"There is no order {word.text!r}", text, word.value_at, hint=hint)
    return Sort(field.name, descending)


def _field_hint(name: str) -> str:
    close = close_names(name, [*BY_NAME, SORT])
    meant = f"Did you mean {', '.join(f'{one}:' for one in close)}? " if close else ""
    return f"{meant}`lorakit ls --fields` lists them; quotes make it a text to look for."
