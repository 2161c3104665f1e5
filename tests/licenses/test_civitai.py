"""Civitai's four fields: what they permit, and that what is absent permits nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.licenses.civitai import (
    FIELDS,
    coded_permissions,
    link_permissions,
    permission_terms,
    read_permissions,
)
from lorakit.licenses.spdx import license_terms
from lorakit.licenses.terms import ALLOWING, ShareMerges, Terms, strictest
from tests.licenses.documents import (
    CLOSED,
    OPEN,
    SHA,
    lora_manager,
    model_answer,
    version_answer,
)


def terms_of(document: object) -> Terms:
    (said,) = read_permissions(document)
    return permission_terms(said, "an answer", None)


@pytest.mark.parametrize(
    "wrap",
    [
        model_answer,
        lora_manager,
        lambda flags: {"items": [model_answer(flags)]},
        lambda flags: {**version_answer(), "model": {**version_answer()["model"], **flags}},
    ],
    ids=[
        "the API's answer",
        "LoRA Manager's record",
        "a list of models",
        "a version with its model",
    ],
)
def test_the_fields_are_found_wherever_they_were_saved(wrap: Any) -> None:
    (said,) = read_permissions(wrap(CLOSED))
    assert (said.derivatives, said.no_credit, said.different_license) == (False, False, False)
    assert said.commercial == frozenset({"Image"})
    assert (said.model_id, said.name) == (77, "Ink Style")
    assert said.fits(SHA, None) is True
    assert said.fits("00" * 32, None) is False
    assert said.fits(None, None) is None


def test_open_permissions_allow_merges_and_ask_nothing() -> None:
    terms = terms_of(model_answer(OPEN))
    assert terms.share_merges is ShareMerges.ALLOW
    assert terms.obligations == ()
    assert terms.share_pictures is ShareMerges.ALLOW


def test_no_derivatives_denies() -> None:
    terms = terms_of(model_answer(CLOSED))
    assert terms.share_merges is ShareMerges.DENY
    assert "allowDerivatives: false" in terms.statement


@pytest.mark.parametrize(
    ("field", "value", "duty"),
    [
        ("allowNoCredit", False, "Credit inker for Ink Style (https://civitai.com/models/77)."),
        ("allowDifferentLicense", False, "same permissions as Ink Style"),
        ("allowCommercialUse", ["Image", "Rent"], "not to be sold"),
        ("allowCommercialUse", ["Image", "RentCivit"], "generation services other than Civitai's"),
        ("allowCommercialUse", [], "not to be sold"),
        ("allowCommercialUse", ["None"], "not to be sold"),
        ("allowCommercialUse", None, "not to be sold"),
        ("allowCommercialUse", "{Image,RentCivit}", "not to be sold"),
        ("allowCommercialUse", "Rent", "not to be sold"),
    ],
)
def test_each_restriction_is_an_obligation(field: str, value: object, duty: str) -> None:
    terms = terms_of(model_answer({**OPEN, field: value}))
    assert terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert duty in " ".join(terms.obligations)


@pytest.mark.parametrize("value", [["Sell", "Image"], "Sell", "{Image,Sell}", ["{Image,Sell}"]])
def test_all_spellings_of_commercial_use_are_read(value: object) -> None:
    assert terms_of(model_answer({**OPEN, "allowCommercialUse": value})).obligations == ()


def test_without_image_pictures_are_not_to_be_sold() -> None:
    terms = terms_of(model_answer({**OPEN, "allowCommercialUse": ["Sell"]}))
    assert terms.picture_obligations == ("Pictures may not be sold.",)
    assert terms.share_pictures is ShareMerges.ALLOW_WITH_OBLIGATIONS


def test_an_answer_about_a_hash_says_nothing() -> None:
    (said,) = read_permissions(version_answer())
    assert not said.says_anything


def test_what_lora_manager_fills_in_is_told_from_an_answer() -> None:
    filled = {**OPEN, "allowCommercialUse": ["Sell"]}
    (record,) = read_permissions(lora_manager(filled))
    (answer,) = read_permissions(model_answer(filled))
    assert (record.invented, answer.invented) == (True, False)


def test_the_link_of_an_exported_model_card_holds_the_flags() -> None:
    link = (
        "https://multimodal.art/civitai-licenses?allowNoCredit=False&allowCommercialUse=Image"
        "&allowDerivatives=True&allowDifferentLicense=True"
    )
    said = link_permissions(link)
    assert said is not None
    assert (said.no_credit, said.derivatives, said.different_license) == (False, True, True)
    assert link_permissions("https://example.org/LICENSE") is None


FLAG: st.SearchStrategy[Any] = st.sampled_from([True, False, None, "true", "no", 1, []])
USES = st.lists(st.sampled_from(["Image", "RentCivit", "Rent", "Sell", "None", "Fly"])) | FLAG
FLAGS = st.fixed_dictionaries(
    {},
    optional={field: USES if field == "allowCommercialUse" else FLAG for field in FIELDS},
)


@given(FLAGS)
def test_only_what_is_said_is_permitted(flags: dict[str, Any]) -> None:
    def yes(field: str) -> bool:
        return flags.get(field) is True or flags.get(field) == "true"

    terms = terms_of(model_answer(flags))
    assert (terms.share_merges in ALLOWING) == yes("allowDerivatives")
    uses = flags.get("allowCommercialUse")
    may_sell = isinstance(uses, list) and "Sell" in uses
    if terms.share_merges is ShareMerges.ALLOW:
        assert may_sell
        assert yes("allowNoCredit")
        assert yes("allowDifferentLicense")


@given(FLAGS, st.sampled_from(FIELDS))
def test_taking_a_permission_away_never_loosens(flags: dict[str, Any], field: str) -> None:
    before = terms_of(model_answer(flags))
    for less in (False, None):
        after = terms_of(model_answer({**flags, field: [] if "Use" in field else less}))
        if less is False or field != "allowDerivatives":
            worst = strictest([before.share_merges, after.share_merges])
            assert after.share_merges == worst
        if field != "allowCommercialUse":
            assert set(before.obligations) <= set(after.obligations)
        else:
            assert len(before.obligations) <= len(after.obligations)


@given(FLAGS)
def test_permissions_survive_as_a_licence_identifier(flags: dict[str, Any]) -> None:
    terms = terms_of(model_answer(flags))
    if terms.license is None:
        assert terms.share_merges is ShareMerges.UNKNOWN
        return
    assert coded_permissions(terms.license) is not None
    again = license_terms(terms.license, "a header")
    assert again.share_merges == terms.share_merges
    assert len(again.obligations) == len(terms.obligations)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "civitai",
                    "model",
                    "items",
                    "files",
                    "hashes",
                    "creator",
                    "modelVersions",
                    *FIELDS,
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_document_raises(document: object) -> None:
    for said in read_permissions(document):
        terms = permission_terms(said, "x", None)
        assert terms.to_dict() == Terms.from_dict(terms.to_dict()).to_dict()
