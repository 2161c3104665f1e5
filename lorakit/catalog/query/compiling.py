"""A query to the adapters that fit it, page by page of the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lorakit.catalog.query.conditions import (
    TEXT_FIELDS,
    Context,
    Test,
    all_of,
    any_of,
    any_tag,
    none_of,
    test_of,
)
from lorakit.catalog.query.index import Index
from lorakit.catalog.query.ordering import ids_in_order
from lorakit.catalog.query.pages import pages
from lorakit.catalog.query.syntax import Query, Sort, Term, Text

# Fields whose adapters are looked up one by one.
_BY_ID = ("collection", "hash", "duplicate")


def whether(query: Query, context: Context) -> Test:
    """The test that a query comes to."""
    if not query.groups:
        return lambda page, among: among
    # Tags that are alternatives are looked up together.
    lone: list[Text] = []
    tests: list[Test] = []
    for group in query.groups:
        tags = _tags(group, negated=False)
        if len(group) == 1 and tags:
            lone += tags
        else:
            tests.append(_all_terms(group, context))
    return any_of([any_tag(lone), *tests] if lone else tests)


def _all_terms(group: Sequence[Term], context: Context) -> Test:
    """Tags and numbers come first, texts last, of which few are left to look through then."""
    barred = _tags(group, negated=True)
    terms = sorted((term for term in group if not _tags([term], negated=True)), key=_effort)
    tests = [test_of(term, context) for term in terms]
    if barred:
        tests.insert(len(_tags(group, negated=False)), none_of(any_tag(barred)))
    return all_of(tests)


def _tags(terms: Iterable[Term], *, negated: bool) -> list[Text]:
    """The tags that some terms ask for, or that they bar."""
    return [
        term.value
        for term in terms
        if term.field == "tag" and term.negated is negated and isinstance(term.value, Text)
    ]


def _effort(term: Term) -> int:
    """How long a term takes beside others: tags, numbers, adapters by number, texts, patterns."""
    if term.field == "tag":
        return 0
    if (term.field or "text") in TEXT_FIELDS:
        return 4 if isinstance(term.value, Text) and term.value.is_glob else 3
    return 2 if term.field in _BY_ID else 1


def find_ids(index: Index, test: Test, sorts: Sequence[Sort], most: int | None) -> list[int]:
    """The adapters that fit, in the order asked for and by name where that leaves it open.

    What lacks a value comes last either way. No more than `most`.
    """
    if sorts:
        return ids_in_order(index, test, sorts, most)
    found: list[int] = []
    for page in pages(index):
        if chosen := test(page, page.all):
            found += map(int, page.chosen("id", chosen))
        if most is not None and len(found) >= most:
            break
    return found[:most]


def count_all(index: Index, test: Test) -> int:
    """How many fit."""
    return sum(test(page, page.all).bit_count() for page in pages(index))
