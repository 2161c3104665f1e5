"""Alpha from PEFT's config, in the header or in the file beside."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

import lorakit
from tests.factories import USUAL_SHAPES, lora_tensors, number, write_safetensors

NAMES = ("blocks.0.self_attn.q_proj", "blocks.10.self_attn.q_proj", "blocks.1.mlp.layer1")
SHAPES = {name: USUAL_SHAPES[name] for name in NAMES}
RANK = 16


def inspect(
    folder: Path,
    layout: str = "diffusers",
    embedded: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
) -> lorakit.AdapterReport:
    metadata = {"lora_adapter_metadata": json.dumps(embedded)} if embedded is not None else None
    if beside is not None:
        (folder / "adapter_config.json").write_text(json.dumps(beside), encoding="utf-8")
    tensors = lora_tensors(layout, SHAPES, RANK)
    path = write_safetensors(folder / "a.safetensors", tensors, metadata)
    return lorakit.inspect(path, hashes=False)


def scales(report: lorakit.AdapterReport) -> dict[str, float]:
    return {module.name: module.scale for module in report.modules}


def test_alpha_is_read_from_the_header_under_its_component(tmp_path: Path) -> None:
    report = inspect(tmp_path, embedded={"transformer.lora_alpha": 8, "transformer.r": RANK})
    assert scales(report) == dict.fromkeys(NAMES, 8 / RANK)
    assert any("lora_adapter_metadata" in note for note in report.notes)


def test_another_components_alpha_is_not_used(tmp_path: Path) -> None:
    report = inspect(tmp_path, embedded={"text_encoder.lora_alpha": 8})
    assert scales(report) == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize("layout", ["diffusers", "peft"])
def test_alpha_is_read_from_the_config_beside(tmp_path: Path, layout: str) -> None:
    report = inspect(tmp_path, layout, beside={"lora_alpha": 4, "r": RANK})
    assert scales(report) == dict.fromkeys(NAMES, 4 / RANK)
    assert any("adapter_config.json" in note for note in report.notes)


def test_the_header_comes_before_the_config_beside(tmp_path: Path) -> None:
    report = inspect(tmp_path, embedded={"transformer.lora_alpha": 8}, beside={"lora_alpha": 4})
    assert scales(report) == dict.fromkeys(NAMES, 8 / RANK)


@pytest.mark.parametrize("layout", ["kohya", "comfy"])
def test_layouts_that_store_alpha_take_no_config_from_beside(tmp_path: Path, layout: str) -> None:
    report = inspect(tmp_path, layout, beside={"lora_alpha": 4})
    assert scales(report) == dict.fromkeys(NAMES, 1.0)


def test_rank_stabilised_lora_divides_by_the_root(tmp_path: Path) -> None:
    report = inspect(tmp_path, "peft", beside={"lora_alpha": 8, "use_rslora": True})
    assert scales(report) == dict.fromkeys(NAMES, 8 / math.sqrt(RANK))


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("blocks.0.self_attn.q_proj", NAMES[:1]),
        ("self_attn.q_proj", NAMES[:2]),
        (r"blocks\.\d+\.self_attn\.q_proj", NAMES[:2]),
        (r"^blocks\.1\..*", NAMES[2:]),
        (r"(mlp.layer1|mlp.layer2)", NAMES[2:]),
        (r"(self_)?attn\.[qk]_proj", NAMES[:2]),
        ("elf_attn.q_proj", ()),
        ("blocks.0", ()),
    ],
)
def test_an_alpha_pattern_matches_the_end_of_a_name_as_in_peft(
    tmp_path: Path, pattern: str, matched: tuple[str, ...]
) -> None:
    from peft.utils.other import get_pattern_key

    assert tuple(name for name in NAMES if get_pattern_key([pattern], name) == pattern) == matched
    report = inspect(tmp_path, "peft", beside={"lora_alpha": 8, "alpha_pattern": {pattern: 2}})
    assert scales(report) == {name: (2 if name in matched else 8) / RANK for name in NAMES}


def test_the_first_of_several_patterns_wins(tmp_path: Path) -> None:
    patterns = {"layer1": 1, "mlp.layer1": 2, "q_proj": 3}
    report = inspect(tmp_path, "peft", beside={"lora_alpha": 8, "alpha_pattern": patterns})
    assert scales(report) == {NAMES[0]: 3 / RANK, NAMES[1]: 3 / RANK, NAMES[2]: 1 / RANK}


@pytest.mark.parametrize(
    "pattern",
    ["(", "a{99999999999}", "(" * 5000, "(a+)+$", "((.*)*)*", r"(\w)\1", ".*.*.*.*x", "[[a]"],
)
def test_a_pattern_that_is_broken_or_could_take_for_ever_is_left_out_and_noted(
    tmp_path: Path, pattern: str
) -> None:
    report = inspect(tmp_path, "peft", beside={"lora_alpha": 8, "alpha_pattern": {pattern: 2}})
    assert scales(report) == dict.fromkeys(NAMES, 8 / RANK)
    assert any("pattern" in note for note in report.notes)


@pytest.mark.parametrize(
    "alpha", [None, "8", True, [8], float("nan"), float("inf"), 10**400], ids=repr
)
def test_an_alpha_that_is_no_number_is_no_alpha(tmp_path: Path, alpha: object) -> None:
    report = inspect(tmp_path, "peft", beside={"lora_alpha": alpha})
    assert scales(report) == dict.fromkeys(NAMES, 1.0)
    assert any("scale 1 is assumed" in note for note in report.notes)


def test_a_stored_alpha_comes_before_the_config(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 4}', encoding="utf-8")
    tensors = lora_tensors("diffusers", SHAPES, RANK)
    first = next(iter(tensors)).removesuffix(".lora_A.weight")
    path = write_safetensors(tmp_path / "a.safetensors", tensors | {f"{first}.alpha": number(RANK)})
    found = scales(lorakit.inspect(path, hashes=False))
    assert found == {NAMES[0]: 1.0, NAMES[1]: 4 / RANK, NAMES[2]: 4 / RANK}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufffe", "[" * 100_000])
def test_a_broken_config_beside_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "adapter_config.json").write_bytes(text.encode("utf-16"))
    assert scales(inspect(tmp_path, "peft")) == dict.fromkeys(NAMES, 1.0)
    (tmp_path / "adapter_config.json").write_text(text, encoding="utf-8")
    assert scales(inspect(tmp_path, "peft")) == dict.fromkeys(NAMES, 1.0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_in_place_of_the_config_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "adapter_config.json")
    assert scales(inspect(tmp_path, "peft")) == dict.fromkeys(NAMES, 1.0)
