"""Model cards: licence and bases from the YAML at their top."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.licenses.cards import Card, card_ancestors, card_notes, card_terms, read_card
from lorakit.licenses.terms import ShareMerges, Terms


def card(front: str) -> Card:
    return read_card(f"---\n{front}\n---\n# A model\n")


def terms(front: str) -> Terms | None:
    return card_terms(card(front), "README.md", None)


def share(front: str) -> ShareMerges | None:
    found = terms(front)
    return found.share_merges if found else None


def test_animas_own_card_is_understood() -> None:
    found = terms(
        "license: other\nlicense_name: circlestone-labs-non-commercial-license\n"
        "license_link: https://huggingface.co/circlestone-labs/Anima/blob/main/LICENSE.md\n"
        "base_model: circlestone-labs/Anima\nbase_model_relation: adapter\ntags:\n- lora"
    )
    assert found is not None
    assert found.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert "CIRCLESTONE LABS LLC" in " ".join(found.obligations)


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: mit", ShareMerges.ALLOW_WITH_OBLIGATIONS),
        ("license: cc0-1.0", ShareMerges.ALLOW),
        ("license: [mit, cc-by-nd-4.0]", ShareMerges.DENY),
        ("license: other", ShareMerges.UNKNOWN),
        ("license: other\nlicense_name: house-rules", ShareMerges.UNKNOWN),
        ("license: other\nlicense_name: snofs-license", ShareMerges.DENY),
        ("license_name: snofs-license", ShareMerges.DENY),
        ("license: unknown", ShareMerges.UNKNOWN),
        (
            "license: other\nlicense_name: bespoke-lora-trained-license\nlicense_link: https://"
            "multimodal.art/civitai-licenses?allowNoCredit=True&allowCommercialUse=Image"
            "&allowDerivatives=False&allowDifferentLicense=False",
            ShareMerges.DENY,
        ),
        ("tags: [lora]", None),
        ("license:", None),
        ("license: 3", None),
    ],
)
def test_licences_of_cards(front: str, expected: ShareMerges | None) -> None:
    assert share(front) is expected


def ancestors(front: str, *, adapter: bool) -> list[str]:
    found = card_ancestors(card(front), "the card", adapter=adapter)
    return [f"{one.name}: {one.own_terms.share_merges}" for one in found]


def test_a_merge_or_fine_tune_holds_its_bases() -> None:
    front = "base_model:\n- https://civitai.com/models/2356447\n- someone/Elsewhere\n"
    for relation in ("merge", "finetune", "quantized"):
        for adapter in (False, True):
            assert ancestors(f"{front}base_model_relation: {relation}", adapter=adapter) == [
                "RDBT [Anima]: deny",
                "someone/Elsewhere: unknown",
            ]
    assert ancestors(front, adapter=False)[0] == "RDBT [Anima]: deny"


@pytest.mark.parametrize("relation", ["", "base_model_relation: adapter"])
def test_an_adapter_that_was_trained_on_a_model_does_not_hold_it(relation: str) -> None:
    front = f"base_model: RDBT [Anima]\n{relation}".replace("RDBT [Anima]", '"RDBT [Anima]"')
    assert ancestors(front, adapter=True) == []
    (note,) = card_notes(card(front), "the card", adapter=True)
    assert "trained on RDBT [Anima]" in note


@pytest.mark.parametrize(
    "text",
    ["", "# Title", "---\nlicense: mit\n", "---\n- a\n- b\n---", "\ufeff---\n---\n", "---\n---"],
)
def test_no_front_matter_says_nothing(text: str) -> None:
    assert not read_card(text).says_anything


@pytest.mark.parametrize(
    "front", ["license: [mit", "license: !!python/object:os.system x", "a: *b", "? {a: [}"]
)
def test_broken_yaml_is_a_value_error(front: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        card(front)


@given(st.text(max_size=80) | st.text("license: [mit]{}&*!|>-\n\t'\"", max_size=80))
def test_no_card_raises_anything_else(front: str) -> None:
    try:
        found = card(front)
    except ValueError:
        return
    card_terms(found, "x", None)
    card_ancestors(found, "x", adapter=False)
