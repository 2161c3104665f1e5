"""Licences by name and as SPDX expressions: AND is the strictest, OR the loosest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.licenses.spdx import canonical, identifier, license_terms
from lorakit.licenses.terms import (
    ShareMerges,
    Terms,
    known_licenses,
    loosest,
    strictest,
)

# Licences of each strictness, by identifiers that SPDX or the table knows.
NAMES = ("CC0-1.0", "MIT", "CC-BY-NC-SA-4.0", "LicenseRef-never-heard-of", "CC-BY-ND-4.0")


def share(text: str) -> ShareMerges:
    return license_terms(text, "a header").share_merges


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("CC BY-NC 4.0", "CC-BY-NC-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("gpl-3.0", "GPL-3.0"),
        ("CreativeML-OpenRAIL-M", "LicenseRef-CreativeML-OpenRAIL-M"),
        ("creativeml openrail m", "LicenseRef-CreativeML-OpenRAIL-M"),
        ("openrail++", "LicenseRef-CreativeML-OpenRAIL-PlusPlus-M"),
        ("circlestone-labs-non-commercial-license", "LicenseRef-CircleStone-NC-1.2"),
        ("nvidia-open-model-license", "LicenseRef-scancode-nvidia-open-model-2025"),
    ],
)
def test_names_as_people_write_them_are_known(named: str, expected: str) -> None:
    terms = license_terms(named, "a header")
    assert terms.license == expected
    assert terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert terms.obligations
    assert terms.source == "a header"


@pytest.mark.parametrize("named", ["CC-BY-ND-4.0", "cc-by-nc-nd-4.0", "snofs-license"])
def test_licences_without_derivatives_deny(named: str) -> None:
    assert share(named) is ShareMerges.DENY


@pytest.mark.parametrize(
    "text", ["", "other", "unknown", "do what you like", "MIT AND", "(((", "MIT OR nonsense", "cc"]
)
def test_what_is_not_understood_is_unknown(text: str) -> None:
    assert share(text) is ShareMerges.UNKNOWN


def test_or_says_which_was_chosen() -> None:
    terms = license_terms("CC-BY-ND-4.0 OR (GPL-3.0-only AND MIT)", "a header")
    assert terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert "GPL 3.0-only and MIT is chosen" in terms.statement
    assert terms.license == "GPL-3.0-only AND MIT"


def test_with_keeps_the_terms_and_the_exception() -> None:
    terms = license_terms("GPL-2.0-or-later WITH Classpath-exception-2.0", "a header")
    assert terms.obligations == known_licenses()["gpl-2.0-or-later"].obligations
    assert terms.license == "GPL-2.0-or-later WITH Classpath-exception-2.0"


def test_every_licence_of_the_table_is_read_back_by_its_own_identifier() -> None:
    for key, terms in known_licenses().items():
        assert terms.license is not None
        assert canonical(terms.license) == terms.license, key
        again = license_terms(identifier(terms), terms.source)
        assert (again.share_merges, again.obligations) == (terms.share_merges, terms.obligations)


def test_terms_without_a_licence_get_a_valid_identifier() -> None:
    terms = Terms("Été & co. / 2", ShareMerges.ALLOW, "", "x", None)
    assert identifier(terms).startswith("LicenseRef-")
    assert canonical(identifier(terms)) == identifier(terms)


# A tree of names under AND and OR, as text, with its strictness worked out on the way.
LEAF = st.sampled_from(NAMES).map(lambda name: (name, share(name)))
TREE = st.recursive(
    LEAF,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner).map(
        lambda t: (
            f"({t[1][0]} {t[0]} {t[2][0]})",
            (strictest if t[0] == "AND" else loosest)([t[1][1], t[2][1]]),
        )
    ),
    max_leaves=8,
)


@given(TREE)
def test_expressions_are_as_strict_as_their_operators_make_them(
    tree: tuple[str, ShareMerges],
) -> None:
    assert share(tree[0]) is tree[1]


@given(TREE, st.sampled_from(NAMES))
def test_and_never_loosens_and_or_never_tightens(tree: tuple[str, ShareMerges], name: str) -> None:
    text, before = tree
    assert strictest([before, share(f"{text} AND {name}")]) is share(f"{text} AND {name}")
    assert loosest([before, share(f"{text} OR {name}")]) is share(f"{text} OR {name}")
    both = license_terms(f"MIT AND {text} AND {name}", "x")
    assert set(known_licenses()["mit"].obligations) <= set(both.obligations)


@given(st.text(max_size=60) | st.text("()ANDORWITH MITcC0-1.+", max_size=60))
def test_no_text_raises(text: str) -> None:
    terms = license_terms(text, "a header")
    assert terms.statement
