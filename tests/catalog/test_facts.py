"""What is said of a content: by whom, in which order, and what cannot be said."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.facts import NewFact, with_header
from lorakit.catalog.fields import FIELDS, SOURCES
from lorakit.errors import BadUsage
from tests.catalog.factories import write_adapter

INK, WASH = "a" * 64, "b" * 64
GOOD: dict[str, Any] = {
    "title": "Ink",
    "notes": "n",
    "description": "d",
    "rating": 5,
    "favourite": False,
    "strength": {"value": 0.8, "min": None, "max": 1.0},
    "trigger_words": ["@ink"],
    "base_model": "Anima",
    "author": "me",
    "page": "https://example.org/1",
    "nsfw": True,
    "cover": "/covers/1.png",
}


def test_every_field_gives_back_what_was_put_in(catalog: Catalog) -> None:
    assert GOOD.keys() <= FIELDS.keys()
    catalog.set_facts([NewFact(INK, field, value) for field, value in GOOD.items()])
    found = catalog.facts(INK)
    assert {field: records[0].value for field, records in found.items()} == GOOD
    assert all(type(found[field][0].value) is type(value) for field, value in GOOD.items())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", " "),
        ("title", 3),
        ("rating", 0),
        ("rating", 6),
        ("rating", 4.5),
        ("rating", True),
        ("rating", "4"),
        ("favourite", 1),
        ("strength", 0.8),
        ("strength", {"value": None}),
        ("strength", {"value": float("nan")}),
        ("strength", {"value": 10**400}),
        ("strength", {"value": 0.8, "other": 1}),
        ("strength", {"value": 2, "min": 0, "max": 1}),
        ("trigger_words", "@ink"),
        ("trigger_words", []),
        ("trigger_words", [""]),
        ("page", "javascript:alert(1)"),
        ("page", "https://example.org/ x"),
        ("shoes", "x"),
    ],
)
def test_what_cannot_stand_in_a_field(catalog: Catalog, field: str, value: object) -> None:
    with pytest.raises(BadUsage, match=field):
        catalog.set_facts([NewFact(INK, "notes", "fine"), NewFact(INK, field, value)])
    assert catalog.facts(INK) == {}
    assert catalog.steps() == []


def test_a_source_that_is_not_known(catalog: Catalog) -> None:
    with pytest.raises(BadUsage, match="somebody"):
        catalog.set_fact(INK, "title", "x", "somebody")
    with pytest.raises(BadUsage, match="somebody"):
        catalog.tag([INK], add=["x"], source="somebody")


def test_the_first_source_that_says_something_counts(catalog: Catalog) -> None:
    backwards = list(reversed(SOURCES))
    catalog.set_facts([NewFact(INK, "title", f"by {name}", name, "there") for name in backwards])
    records = catalog.facts(INK)["title"]
    assert [record.source for record in records] == list(SOURCES)
    assert (records[0].value, records[0].place) == ("by user", "there")
    catalog.set_fact(INK, "title", None)
    assert catalog.facts(INK)["title"][0].value == "by lorakit"


def test_the_header_has_the_last_word(catalog: Catalog, folder: Path) -> None:
    header = {"modelspec.title": "Header", "modelspec.trigger_phrase": "@ink"}
    write_adapter(folder / "ink.safetensors", 1, header)
    catalog.add([folder])
    record = catalog.resolve("ink")
    said = with_header(record, catalog.facts(record.tensor_sha256))
    assert said["title"][0].value == "Header"
    assert said["trigger_words"][0].value == ["@ink"]
    catalog.set_fact(record.tensor_sha256, "title", "Card", "card")
    said = with_header(record, catalog.facts(record.tensor_sha256))
    assert [one.source for one in said["title"]] == ["card", "header"]


def test_many_contents_are_asked_for_at_once(catalog: Catalog) -> None:
    contents = [f"{number:064x}" for number in range(1203)]
    catalog.set_facts([NewFact(content, "rating", 3) for content in contents])
    catalog.tag(contents, add=["x"])
    catalog.set_fact(WASH, "notes", "n")
    assert catalog.all_facts(contents, ["rating"]).keys() == set(contents)
    assert catalog.all_facts(contents, ["notes"]) == {}
    assert catalog.all_facts().keys() == {*contents, WASH}
    assert catalog.all_tags(contents[:700]).keys() == set(contents[:700])
    assert catalog.steps()[1].rows == 1203
    catalog.undo(2)
    assert catalog.all_tags() == {}


def test_tags_are_the_union_of_all_sources_with_the_persons_own_first(catalog: Catalog) -> None:
    catalog.tag([INK], add=["Style", "zebra", "ink"], source="civitai")
    catalog.tag([INK], add=["style", "wip"])
    assert catalog.tags(INK) == ("style", "wip", "ink", "zebra")
    # A program takes its own tags only; a person any.
    catalog.tag([INK], remove=["wip", "zebra"], source="civitai")
    assert catalog.tags(INK) == ("style", "wip", "ink")
    catalog.tag([INK], remove=["STYLE", "ink"])
    assert catalog.tags(INK) == ("wip",)


def test_what_holds_odd_characters_is_kept_as_it_is(catalog: Catalog, tmp_path: Path) -> None:
    odd = 'ü "quoted" \\ \x00 \ud800 𝄞\n'
    catalog.set_fact(INK, "notes", f"a{odd}b")
    assert catalog.facts(INK)["notes"][0].value == f"a{odd}b"
    catalog.set_fact(INK, "notes", None)
    catalog.undo()
    assert catalog.facts(INK)["notes"][0].value == f"a{odd}b"
    # Bytes of an argument or a path that are no characters.
    catalog.set_fact(INK, "title", "x", "card", "a\udcff.md")
    catalog.new_collection("odd", query="tag:\udcff", notes="\udcff")
    catalog.keep_stack("odd", "x", notes="\udcff")
    with catalog.step("note \udcff"):
        catalog.tag([INK], add=["x"])
    assert catalog.facts(INK)["title"][0].place == r"a\udcff.md"
    assert catalog.collection("odd").notes == r"\udcff"
    assert catalog.steps(1)[0].command == r"note \udcff"
    with closing(sqlite3.connect(tmp_path / "home" / "catalog.db")) as connection:
        rows = connection.execute("SELECT value FROM fact").fetchall()
    assert all(text.isascii() for (text,) in rows)
