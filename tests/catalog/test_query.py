"""Queries: what they find is what a plain filter over the same adapters finds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key, partial
from operator import attrgetter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lorakit.catalog import Catalog
from lorakit.catalog.query.fields import FIELDS, SORTABLE
from lorakit.catalog.query.parsing import BadQuery, parse
from lorakit.catalog.query.searching import Search
from lorakit.catalog.query.syntax import Dates, Flag, Query, Sort, Span, Term, Text
from tests.catalog.collected import (
    KIND_NAMES,
    NOW,
    TAGS,
    WORDS,
    Made,
    make,
    say,
    small_pages,
    store,
)

SHARES = {
    "CC0-1.0": "allow",
    "CreativeML-OpenRAIL-M": "deny",
    "cc-by-4.0": "allow_with_obligations",
}
Key = Callable[[Made], Any]
SMART = "rank:16.. -tag:ink"


@dataclass(frozen=True)
class Shelf:
    """A catalog, and the same adapters as the oracle knows them."""

    catalog: Catalog
    made: Sequence[Made]
    search: Search

    def found(self, query: Query | str) -> list[int]:
        return self.search.ids(query)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    random = Random(7)
    contents = [f"{number:064x}" for number in range(0, 16**3, 97)]
    made = [make(random, number, contents) for number in range(1, 61)]
    path = tmp_path_factory.mktemp("shelf") / "catalog.db"
    with small_pages(), Catalog.open(path) as catalog:
        store(catalog, made)
        say(catalog, random, made)
        catalog.new_collection("Best of Été")
        chosen = sorted({one.content for one in made})[::3]
        catalog.collect("Best of Été", chosen)
        for one in made:
            one.collections = ("Best of Été",) if one.content in chosen else ()
        catalog.new_collection("smart", query=SMART)
        search = Search(catalog._store, lambda named: SHARES.get(named, "unknown"), NOW)
        yield Shelf(catalog, made, search)
        search.close()


# The oracle ------------------------------------------------------------------------------------


def plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if unicodedata.combining(c) != 230).casefold()


def fitting(text: Text, value: str, whole: bool) -> bool:
    value, wanted = plain(value), plain(text.text)
    if text.is_glob:
        signs = {"*": ".*", "?": "."}
        pattern = "".join(signs.get(sign) or re.escape(sign) for sign in wanted)
        return bool(value) and re.fullmatch(pattern, value, re.DOTALL) is not None
    return value == wanted if whole else wanted in value


def share_of(made: Made) -> str:
    order = ["allow", "allow_with_obligations", "unknown", "deny"]
    own = [share for origin, share in made.claims if origin == "user"]
    others = [share for origin, share in made.claims if origin != "user"]
    if made.license:
        others.append(SHARES.get(made.license, "unknown"))
    if own and max(others, key=order.index, default="unknown") == "unknown":
        others = [share for share in others if share != "unknown"]
    return max([*own, *others], key=order.index, default="unknown").split("_")[0]


def dates_fit(dates: Dates, moment: datetime) -> bool:
    def ends(text: str) -> tuple[datetime, datetime]:
        if text.startswith("-"):
            return (NOW - timedelta(int(text[1:-1])),) * 2
        if text == "today":
            return NOW.replace(hour=0), NOW.replace(hour=0) + timedelta(1)
        year, month = map(int, text.split("-"))
        return datetime(year, month, 1, tzinfo=UTC), datetime(year, month + 1, 1, tzinfo=UTC)

    after = dates.low is None or moment >= ends(dates.low)[0]
    return after and (dates.high is None or moment < ends(dates.high)[1])


def inside(span: Span, number: float | None) -> bool:
    if number is None:
        return False
    return (span.low is None or number >= span.low) and (span.high is None or number <= span.high)


def fits(term: Term, made: Made, shelf: Shelf) -> bool:
    return _fits(term, made, shelf) is not term.negated


def _fits(term: Term, made: Made, shelf: Shelf) -> bool:
    match term.field, term.value:
        case None, Text() as text:
            texts = (made.name, made.title, made.notes, *made.triggers, *made.tags)
            return any(fitting(text, one, False) for one in texts)
        case (("name" | "title" | "note" | "trigger" | "base" | "path"), Text() as text):
            texts = {
                "name": (made.name,),
                "title": (made.title,),
                "note": (made.notes,),
                "trigger": made.triggers,
                "base": (made.base,),
                "path": tuple(path for path, _ in made.places),
            }[str(term.field)]
            return any(fitting(text, one, False) for one in texts)
        case (("tag" | "algo" | "layout" | "dtype"), Text() as text):
            texts = made.tags if term.field == "tag" else (getattr(made, str(term.field)),)
            return any(fitting(text, one, True) for one in texts)
        case "collection", Text() as text:
            smart = fitting(text, "smart", True) and answers(parse(SMART), made, shelf)
            return smart or any(fitting(text, one, True) for one in made.collections)
        case "component", Text(text=wanted):
            return wanted in made.components
        case "kind", Text(text=wanted):
            return wanted in {KIND_NAMES[kind] for kind in made.kinds}
        case "hash", Text(text=wanted):
            return made.sha.startswith(wanted) or made.content.startswith(wanted)
        case "license", Text(text=wanted) if wanted in ("allow", "deny", "unknown"):
            return share_of(made) == wanted
        case "license", Text() as text:
            named = ["MIT"] * bool(made.claims) + [made.license] * bool(made.license)
            return any(fitting(text, str(one), True) for one in named)
        case (("rating" | "size" | "modules" | "strength"), Span() as span):
            return inside(span, getattr(made, str(term.field)))
        case "rank", Span() as span:
            return made.rank is not None and any(
                inside(span, rank) for rank in range(made.rank[0], made.rank[1] + 1)
            )
        case "block", Span() as span:
            return any(inside(span, block) for block in made.blocks)
        case "all-blocks", Span(low=low, high=high):
            assert high is not None
            return set(range(int(low or 0), int(high) + 1)) <= made.blocks
        case "only-blocks", Span() as span:
            return bool(made.blocks) and all(inside(span, block) for block in made.blocks)
        case "favourite", Flag(wanted=wanted_flag):
            return made.favourite is wanted_flag
        case "missing", Flag(wanted=wanted_flag):
            return all(missing for _, missing in made.places) is wanted_flag
        case "duplicate", Flag(wanted=wanted_flag):
            twins = [one for one in shelf.made if one.content == made.content]
            return (len(twins) > 1 or len(made.places) > 1) is wanted_flag
        case "added", Dates() as dates:
            return dates_fit(dates, made.added)
    raise AssertionError(term)


def answers(query: Query, made: Made, shelf: Shelf) -> bool:
    if not query.groups:
        return True
    return any(all(fits(term, made, shelf) for term in group) for group in query.groups)


def expected(query: Query, shelf: Shelf) -> list[int]:
    found = [one for one in shelf.made if answers(query, one, shelf)]
    found.sort(key=lambda one: (plain(one.name), one.id))
    for sort in reversed(query.sorts):
        keys: dict[str, Key] = {
            "rank": lambda one: one.rank and one.rank[1],
            "rating": lambda one: one.rating,
            "added": lambda one: one.added,
            "title": lambda one: plain(one.title) or None,
            "base": lambda one: plain(one.base) or None,
            "name": lambda one: plain(one.name),
            "strength": lambda one: one.strength,
            "favourite": lambda one: one.favourite,
            "missing": lambda one: all(missing for _, missing in one.places),
            **{field: partial(_plain_of, field) for field in ("algo", "layout", "dtype")},
            **{field: attrgetter(field) for field in ("size", "modules")},
        }
        key = keys[sort.field]
        sign = -1 if sort.descending else 1

        def order(a: Made, b: Made, key: Key = key, sign: int = sign) -> int:
            one, other = key(a), key(b)
            if one is None or other is None:
                return (one is None) - (other is None)
            return sign * (int(one > other) - int(one < other))

        found.sort(key=cmp_to_key(order))
    return [one.id for one in found]


def _plain_of(field: str, made: Made) -> str:
    return plain(getattr(made, field))


# Queries that are drawn ------------------------------------------------------------------------

words = st.sampled_from((*WORDS, "INK", "ete", "strasse", "%", "_", "'", "[", "o", "zzz", "-", ","))
globs = st.one_of(
    st.sampled_from(("ink*", "*ink", "*n?*", "?", "*", "a*b*", "*%*", "É*", "*?o*")),
    st.text("*?inkwash", min_size=1, max_size=7),
)
texts = st.one_of(
    words.map(lambda text: Text(text, literal="*" in text)),
    globs.map(Text),
)
tags = st.one_of(st.sampled_from(TAGS).map(lambda t: Text(t, "*" in t)), globs.map(Text))


def spans(values: Sequence[float]) -> st.SearchStrategy[Span]:
    ends = st.none() | st.sampled_from(values)
    return st.builds(_span, ends, ends)


def _span(one: float | None, other: float | None) -> Span:
    if one is None or other is None:
        return Span(one, other)
    return Span(min(one, other), max(one, other))


VALUES: dict[str | None, st.SearchStrategy[Text | Span | Dates | Flag]] = {
    **dict.fromkeys((None, "name", "title", "note", "trigger", "base", "path"), texts),
    "tag": tags,
    "collection": st.sampled_from(("best of ete", "smart", "*", "b*", "none")).map(Text),
    "algo": st.sampled_from(("lora", "LoKr", "lo*", "x")).map(Text),
    "layout": st.sampled_from(("kohya", "k*", "peft")).map(Text),
    "dtype": st.sampled_from(("bf16", "f*", "b??6")).map(Text),
    "component": st.sampled_from(("dit", "llm_adapter", "text_encoder")).map(Text),
    "kind": st.sampled_from(("self_attn", "cross_attn", "mlp", "adaln")).map(Text),
    "license": st.sampled_from(
        ("allow", "deny", "unknown", "cc0-1.0", "MIT", "cc*", "made-up", "none")
    ).map(Text),
    "hash": st.sampled_from(("0", "00", "1", "a", "f" * 64)).map(Text),
    "rating": spans((1, 3, 5)),
    "size": spans((0, 1000, 2_500_000)),
    "modules": spans((2, 200, 279)),
    "strength": spans((-0.5, 0.0, 0.5, 0.8)),
    "rank": spans((1, 4, 8, 17, 64)),
    "block": spans((0, 1, 3, 5, 27)),
    "only-blocks": spans((0, 1, 3, 5, 27)),
    "all-blocks": spans((0, 1, 3)).filter(lambda span: span.high is not None),
    **dict.fromkeys(("favourite", "missing", "duplicate"), st.booleans().map(Flag)),
    "added": st.sampled_from(
        (
            Dates("-30d", None),
            Dates("-60d", "-10d"),
            Dates("2026-11", "2026-11"),
            Dates("today", "today"),
            Dates(None, "2026-10"),
            Dates(None, None),
        )
    ),
}
terms = st.sampled_from(list(VALUES)).flatmap(
    lambda field: st.builds(Term, st.just(field), VALUES[field], st.booleans())
)
groups = st.lists(st.lists(terms, min_size=1, max_size=4).map(tuple), max_size=4).map(tuple)
sorts = st.lists(
    st.builds(Sort, st.sampled_from(SORTABLE), st.booleans()),
    max_size=3,
    unique_by=lambda s: s.field,
).map(tuple)
drawn = st.builds(Query, groups, sorts)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(query=parse("-tag:none rank:2.. *n?* , -*n?* modules:200.. , *a?h sort:added-"))
@given(query=drawn)
def test_a_query_finds_what_a_plain_filter_finds(shelf: Shelf, query: Query) -> None:
    whole = expected(query, shelf)
    assert shelf.found(query) == whole
    assert shelf.search.count(query) == len(whole)
    for limit, offset in ((1, 0), (2, 3)):
        assert shelf.search.ids(query, limit, offset) == whole[offset:][:limit]


@pytest.mark.parametrize("query", ["sort:name-", "sort:name", "sort:name- sort:rank", "sort:rank"])
def test_names_that_are_the_same_when_searched_stay_in_order(
    shelf: Shelf, catalog: Catalog, query: str
) -> None:
    def named(number: int) -> str:
        """One of three names, in capitals where the number has a bit."""
        letters = enumerate(("inkwash", "redwash", "oilwash")[number % 3])
        return "".join(sign.upper() if number >> bit & 1 else sign for bit, sign in letters)

    # Each name goes on over several pages.
    made = [replace(one, name=named(one.id)) for one in shelf.made]
    with small_pages():
        store(catalog, made)
        search = Search(catalog._store, now=NOW)
        whole = expected(parse(query), replace(shelf, made=made))
        for limit, offset in ((None, 0), (1, 0), (5, 0), (5, 20), (60, 7)):
            assert search.ids(query, limit, offset) == whole[offset:][:limit]
        search.close()


@pytest.mark.parametrize("field", [name for name in VALUES if name])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_each_field_finds_what_a_plain_filter_finds(
    shelf: Shelf, field: str, data: st.DataObject
) -> None:
    query = Query(((Term(field, data.draw(VALUES[field])),),))
    assert shelf.found(query) == expected(query, shelf)


@settings(max_examples=100, deadline=None)
@given(query=drawn)
def test_a_query_that_is_written_is_read_again_as_it_was(query: Query) -> None:
    assert parse(str(query)) == query


@example("^,*")
@example(':* -- "-" ,')
@example('"\x85\\ "')
@example("added:-30d..-30d added:-30d")
@given(text=st.text(alphabet=st.sampled_from("ab \"'\\,:-^*?.8\n\u00e9"), max_size=30))
def test_whatever_is_typed_is_read_or_refused_with_its_place(text: str) -> None:
    query = read(text)
    if isinstance(query, BadQuery):
        assert f"character {query.at + 1} " in query.message
        assert 0 <= query.at <= len(text)
    else:
        assert parse(str(query)) == query


def read(text: str) -> Query | BadQuery:
    try:
        return parse(text)
    except BadQuery as error:
        return error


def test_pages_follow_one_another(shelf: Shelf) -> None:
    whole = shelf.found("sort:rank-")
    assert len(whole) == len(shelf.made)
    pages = [shelf.search.ids("sort:rank-", 7, start) for start in range(0, len(whole), 7)]
    assert [number for page in pages for number in page] == whole


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rnk:8", ("rnk", "Did you mean rank:")),
        ("tag:", ("nothing after tag:", "tag:ink")),
        ("a rank:x", ("'x'", "character 8", "rank:8..32")),
        ("rank:9..2", ("ends before it begins",)),
        ("rating:4.5", ("'4.5'",)),
        ("ink added:2026..2025", ("ends before it begins", "character 11", "2026-11-23")),
        ("added:2026-11-23..2026-11-22", ("ends before it begins",)),
        ("added:-1d..-2d", ("ends before it begins",)),
        ("added:today..-30d", ("ends before it begins",)),
        ("size:2GB..1GB", ("ends before it begins",)),
        ("size:16.6", ("'16.6'",)),
        ("size:1parsec", ("1parsec", "50MB")),
        ("strength:nan", ("'nan'",)),
        ("added:someday", ("'someday'", "2026-11")),
        ("added:2026-13", ("'2026-13'",)),
        ("missing:maybe", ("neither yes nor no",)),
        ("component:text", ("text_encoder",)),
        ("hash:xyz", ("0-9",)),
        ("sort:tag", ("no order", "added")),
        ('"open', ("not closed",)),
        ("a ,, b", ("before the comma",)),
        ("a ,", ("after the comma", "character 3")),
        ("a " * 300, ("more than",)),
    ],
)
def test_what_is_no_query_is_refused_with_its_place(text: str, words: Sequence[str]) -> None:
    with pytest.raises(BadQuery) as caught:
        parse(text)
    said = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    "text",
    [
        "2026..2026",
        "2025..-1y",
        "-1h..today",
        "today..-1h",
        "-30d..-30d",
        "yesterday..",
        "2026-11..2026",
    ],
)
def test_a_range_of_dates_that_may_hold_something_is_one(text: str) -> None:
    assert parse(f"added:{text}").terms[0].value == Dates(
        *(end or None for end in text.split(".."))
    )


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("16.6kB", 16_550, 16_650),
        ("17KB", 16_500, 17_500),
        ("2.50GB", 2_495_000_000, 2_505_000_000),
        ("1.5KiB", 1_485, 1_587),
        ("5B", 5, 5),
        ("0kB", 0, 500),
        ("16600", 16_600, 16_600),
        ("..50MB", None, 50_000_000),
        ("16.6kB..", 16_550, None),
        ("1MB..2.5MB", 1_000_000, 2_550_000),
    ],
)
def test_a_size_means_what_rounds_to_it(text: str, low: int | None, high: int | None) -> None:
    assert parse(f"size:{text}").terms[0].value == Span(low, high)


def test_the_example_in_the_documentation_is_read() -> None:
    text = (
        "style tag:ink rank:8..32 algo:lokr block:0..2 component:text_encoder base:anima "
        "license:deny missing:no added:-30d -tag:nsfw, rating:4.. sort:rank-"
    )
    query = parse(text)
    assert [len(group) for group in query.groups] == [11, 1]
    assert query.sorts == (Sort("rank", descending=True),)
    assert query.groups[0][-1] == Term("tag", Text("nsfw"), negated=True)
    assert query.groups[0][2].value == Span(8, 32)


def test_every_field_has_an_example_that_is_read() -> None:
    for field in FIELDS:
        assert [term.field for term in parse(field.example).terms] == [field.name]


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE item; --", 'x" OR 1=1', "%", "_", "\\", "[a-z]", "é" * 50, "(" * 40],
)
def test_no_text_is_anything_but_text(shelf: Shelf, text: str) -> None:
    for field in (None, "name", "tag", "path", "collection", "license", "base"):
        query = Query(((Term(field, Text(text)),),))
        assert shelf.found(query) == expected(query, shelf)
    assert len(shelf.found("")) == len(shelf.made)


def test_a_pattern_with_many_stars_ends(shelf: Shelf) -> None:
    assert shelf.found("note:" + "*a" * 40 + "*") == []
