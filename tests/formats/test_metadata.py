"""The claims in a header, as the trainers write them."""

from __future__ import annotations

import json

import pytest

from lorakit.formats.metadata import TrainingInfo, read_training_info


def test_kohyas_metadata_is_read() -> None:
    info = read_training_info(
        {
            "ss_network_module": "networks.lora_anima",
            "ss_sd_model_name": "anima-base-v1.0.safetensors",
            "ss_base_model_version": "anima",
            "ss_output_name": "ink",
            "ss_network_dim": "16",
            "ss_network_alpha": "8",
            "sshs_model_hash": "ABCDEF",
            "modelspec.hash_sha256": "0xabcdef",
        }
    )
    assert info == TrainingInfo(
        title="ink",
        trainer="sd-scripts (networks.lora_anima)",
        base_model="anima-base-v1.0.safetensors",
        claimed_rank="16",
        claimed_alpha="8",
        claimed_hashes=("abcdef",),
    )


def test_modelspec_comes_before_the_output_name() -> None:
    info = read_training_info(
        {
            "ss_output_name": "ink-000010",
            "modelspec.title": "Ink wash",
            "modelspec.author": "Someone",
            "modelspec.license": "Apache-2.0",
            "modelspec.merged_from": "a, b",
            "modelspec.trigger_phrase": "ink wash, , sumi-e,ink wash",
            "modelspec.architecture": "anima-preview/lora",
        }
    )
    assert info.title == "Ink wash"
    assert info.author == "Someone"
    assert info.license == "Apache-2.0"
    assert info.merged_from == "a, b"
    assert info.trigger_words == ("ink wash", "sumi-e")
    assert info.base_model == "anima-preview/lora"


@pytest.mark.parametrize(
    ("metadata", "trainer"),
    [
        ({"ot_branch": "master"}, "OneTrainer (master)"),
        ({"software": '{"name": "ai-toolkit", "version": "0.7"}'}, "ai-toolkit"),
        ({"software": "not JSON"}, None),
        ({"software": '{"name": 3}'}, None),
        ({}, None),
    ],
)
def test_the_trainer_is_named_where_it_can_be(
    metadata: dict[str, str], trainer: str | None
) -> None:
    assert read_training_info(metadata).trainer == trainer


@pytest.mark.parametrize("value", ["", "  ", "None"])
def test_pythons_none_and_blanks_are_no_claims(value: str) -> None:
    keys = ("modelspec.title", "ss_sd_model_name", "ss_network_dim", "sshs_model_hash")
    assert read_training_info(dict.fromkeys(keys, value)) == TrainingInfo()


def test_tags_are_summed_over_data_sets_the_most_frequent_first() -> None:
    frequency = {"1_ink": {"ink": 3, " wash": 1, "wash": 1}, "2_more": {"wash": 2, "tree": 3}}
    info = read_training_info({"ss_tag_frequency": json.dumps(frequency)})
    assert info.tags == (("wash", 4), ("ink", 3), ("tree", 3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": 1}',
        '{"a": {"b": "c", "d": 1.5, "e": null, "f": true, "g": -1, " ": 3}}',
        '{"a": {"b": 1' + "0" * 30 + "}}",
        '{"a": {"b": 1' + "0" * 5000 + "}}",
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_tags_that_make_no_sense_are_left_out(text: str) -> None:
    assert read_training_info({"ss_tag_frequency": text}).tags == ()


def test_half_of_a_surrogate_pair_inside_nested_json_is_replaced() -> None:
    frequency = '{"1_a": {"\\ud800ink": 2, "\\ud83d\\ude00": 1}}'
    info = read_training_info({"ss_tag_frequency": frequency, "software": '{"name": "\\udfff"}'})
    assert info.tags == (("?ink", 2), ("\N{GRINNING FACE}", 1))
    assert info.trainer == "?"
