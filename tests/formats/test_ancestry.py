"""What a header says a file was made from: written, read back, and never trusted to be in order."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lorakit.formats.ancestry import (
    FORMAT,
    INGREDIENTS_KEY,
    MERGED_FROM_KEY,
    Ancestor,
    RecordedTerms,
    encode_ancestry,
    read_ancestry,
)

TERMS = RecordedTerms(
    "CC BY 4.0", "allow_with_obligations", "Shared alike.", "a card", "2026-01-31"
)
RDBT = Ancestor("rdbt", "base", "a" * 64, "b" * 64, "rdbt", terms=TERMS)
MADE = (
    Ancestor("mix, of two", "adapter", "c" * 64, strength="0.8@blocks=0-9:0", ancestors=(RDBT,)),
    Ancestor("ink", "adapter", None, "d" * 64, relation="is recognised by its weights"),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# The names that matter, with anything at all in them.
entries = st.fixed_dictionaries(
    {},
    optional={
        key: json_values | st.just("f" * 64)
        for key in ("name", "role", "content", "sha256", "model", "relation", "terms", "ancestors")
    },
)


def recorded(document: object) -> tuple[Ancestor, ...]:
    return read_ancestry({INGREDIENTS_KEY: json.dumps(document)})


def test_what_is_written_is_read_back() -> None:
    metadata = encode_ancestry(MADE, "checkpoint")
    assert read_ancestry(metadata) == MADE
    assert metadata[MERGED_FROM_KEY] == "mix, of two, ink"
    assert json.loads(metadata[INGREDIENTS_KEY])["format"] == FORMAT
    assert [a.name for a in MADE[0].everyone()] == ["mix, of two", "rdbt"]


def test_a_file_that_names_nothing_has_no_ancestors() -> None:
    for metadata in ({}, {MERGED_FROM_KEY: " "}, {MERGED_FROM_KEY: "None"}, {INGREDIENTS_KEY: ""}):
        assert read_ancestry(metadata) == ()


def test_names_that_other_programs_write_are_ancestors_without_terms() -> None:
    found = read_ancestry({MERGED_FROM_KEY: "RDBT [Anima], wash ,,wash"})
    assert [a.name for a in found] == ["RDBT [Anima]", "wash"]
    assert {a.terms.share_merges for a in found} == {"unknown"}


def test_a_name_added_to_the_free_text_is_not_lost_beside_the_record() -> None:
    metadata = {**encode_ancestry(MADE[1:], "checkpoint"), MERGED_FROM_KEY: "ink, RDBT"}
    assert [a.name for a in read_ancestry(metadata)] == ["ink", "RDBT"]


def test_the_record_from_before_it_had_a_version_is_read() -> None:
    (found,) = recorded(
        [
            {
                "name": "ink",
                "role": "adapter",
                "share_merges": "deny",
                "statement": "No.",
                "sha256": "E" * 64,
            }
        ]
    )
    assert (found.file_sha256, found.terms.share_merges) == ("e" * 64, "deny")


def test_what_cannot_be_read_is_an_ancestor_of_unknown_terms() -> None:
    deep: object = []
    for _ in range(50):
        deep = [{"name": "x", "ancestors": deep}]
    broken = [
        "{",
        "[" * 100_000,
        json.dumps({"ingredients": "rdbt"}),
        json.dumps(deep),
        "[3]",
        '["\\ud800"]',
    ]
    for text in broken:
        found = read_ancestry({INGREDIENTS_KEY: text})
        everyone = [one for ancestor in found for one in ancestor.everyone()]
        assert any("does not name readably" in one.name for one in everyone), text[:40]
        assert all(one.terms.share_merges == "unknown" for one in everyone)


def test_terms_that_no_program_writes_are_unknown() -> None:
    for terms in ({"share_merges": "sure"}, {"share_merges": ["allow"]}, "allow", None, {}):
        (found,) = recorded({"ingredients": [{"name": "x", "terms": terms}]})
        assert found.terms.share_merges == "unknown"


def test_of_terms_that_are_half_readable_the_readable_half_is_kept() -> None:
    odd = {"read_on": "soon", "share_pictures": 7, "credit": "yes", "obligations": "all", "use": []}
    (found,) = recorded([{"name": "x", "terms": {"share_merges": "deny", "title": "T", **odd}}])
    assert found.terms == RecordedTerms("T", "deny")


@given(st.lists(entries | json_values) | json_values, st.text())
def test_no_header_makes_it_fail(ingredients: object, names: str) -> None:
    text = json.dumps({"ingredients": ingredients})
    for metadata in (
        {INGREDIENTS_KEY: text, MERGED_FROM_KEY: names},
        {INGREDIENTS_KEY: names},
    ):
        for ancestor in read_ancestry(metadata):
            for one in ancestor.everyone():
                one.name.encode()
                assert one.name
                assert one.role in ("base", "adapter")
                assert one.terms.share_merges in (
                    "allow",
                    "allow_with_obligations",
                    "unknown",
                    "deny",
                )
            assert read_ancestry(encode_ancestry([ancestor], "checkpoint")) == (ancestor,)
