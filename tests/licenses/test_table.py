"""The table of known models: every entry sound, cited, and found by what it is known by."""

from __future__ import annotations

import re

import pytest

from lorakit.licenses.known import (
    ancestors_of,
    by_civitai,
    by_hash,
    by_name,
    by_repository,
    known,
    mentioned,
)
from lorakit.licenses.terms import ALLOWING, ShareMerges, known_licenses, known_models


def test_every_entry_cites_where_it_stands_or_is_unknown() -> None:
    for key, model in known().items():
        assert model.terms.statement, key
        if model.terms.source.startswith("none"):
            assert model.terms.share_merges is ShareMerges.UNKNOWN, key
        else:
            assert model.terms.read_on is not None, key
    for key, terms in known_licenses().items():
        assert terms.license, key
        assert re.search(r"section|SPDX|summary|clause", terms.source), key


def test_every_ancestor_is_in_the_table_and_none_is_its_own() -> None:
    for key in known():
        assert key not in ancestors_of(key)
        assert set(ancestors_of(key)) <= set(known())
    assert ancestors_of("rdbt") == ("anima", "animayume")
    assert ancestors_of("anima-3.8b") == ("anima-2.9b", "anima")
    assert ancestors_of("no such model") == ()


def test_hashes_and_civitai_ids_belong_to_one_entry_each() -> None:
    for field in ("sha256", "civitai", "repositories"):
        values = [value for model in known().values() for value in getattr(model, field)]
        assert len(values) == len(set(values))
    for model in known().values():
        for sha256 in model.sha256:
            assert re.fullmatch(r"[0-9a-f]{64}", sha256)
            assert by_hash(sha256) == model.key
        for number in model.civitai:
            assert by_civitai(number) == model.key
        for repository in model.repositories:
            assert by_repository(f"https://huggingface.co/{repository}/tree/main") == model.key
    assert by_hash(None) is None
    assert by_civitai("2356447") is None


def test_only_models_that_deny_are_known_by_name() -> None:
    # Anybody may give a file any name, so a name must never permit anything.
    for model in known().values():
        assert not model.names or model.terms.share_merges not in ALLOWING


@pytest.mark.parametrize(
    "name",
    [
        "anima_preview_rdbt_finetuned_cfg_distilled_v0.12",
        "animaPreviewRdbt.4bB9",
        "anima_preview3_rdbt_finetuned_v0.24_dmd2",
        "rdbt_v1.0_anima_b1_16-step",
        "RDBT [Anima]",
        "RDBT [Anima] LoRA edition",
        "RDBT ym v0.32",
    ],
)
def test_rdbts_published_names_are_known(name: str) -> None:
    assert (by_name(name), by_name(name, adapter=True)) == ("rdbt", "rdbt-lora")


@pytest.mark.parametrize("name", ["Ink for RDBT", "rdbt-ink", "wash", "", None, "anima-base-v1.0"])
def test_other_names_are_not(name: str | None) -> None:
    assert by_name(name, adapter=True) is None


def test_a_mention_is_noticed() -> None:
    assert list(mentioned("Ink for RDBT")) == ["rdbt"]
    assert list(mentioned("Ink for Anima", None)) == []


def test_bases_can_be_named_and_adapters_cannot() -> None:
    adapters = {key for key, model in known().items() if model.is_adapter}
    assert "anima-turbo-lora" in adapters
    assert adapters & set(known_models()) == {"rdbt-lora"}
