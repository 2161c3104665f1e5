"""Which collections a query names, and the same query when one of them is called otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from lorakit.catalog.query.folding import fold
from lorakit.catalog.query.parsing import BadQuery, places_of
from lorakit.catalog.query.patterns import fits
from lorakit.catalog.query.syntax import GLOB, Text

FIELD = "collection"


def is_called(name: str, wanted: Text) -> bool:
    """Whether a collection of that name is one that is asked for."""
    pattern = fold(wanted.text)
    return fits(pattern, fold(name)) if wanted.is_glob else fold(name) == pattern


def names(query: str, name: str) -> bool:
    """Whether a query names the collection itself, by no pattern; no for what is no query."""
    return any(True for _ in _places(query, name))


def fits_pattern(query: str, name: str) -> bool:
    """Whether a pattern in a query describes the name of the collection."""
    return any(wanted.is_glob and is_called(name, wanted) for wanted, _, _ in _values(query))


def renamed(query: str, name: str, new: str) -> str:
    """The query with `new` wherever it names the collection `name`; all else stays as it was typed."""
    written = Text(new, GLOB.search(new) is not None).written()
    for start, end in reversed(list(_places(query, name))):
        query = query[:start] + written + query[end:]
    return query


def _places(query: str, name: str) -> Iterator[tuple[int, int]]:
    for wanted, start, end in _values(query):
        if not wanted.is_glob and is_called(name, wanted):
            yield start, end


def _values(query: str) -> list[tuple[Text, int, int]]:
    try:
        return list(places_of(query, FIELD))
    except BadQuery:
        # It finds nothing as it is, and says so where it is asked.
        return []
