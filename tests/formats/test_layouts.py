"""How keys are taken apart, and sorted into modules."""

from __future__ import annotations

from pathlib import Path

import pytest

import lorakit
from lorakit.formats.layouts import parse_key
from lorakit.formats.parts import SUFFIXES
from tests.factories import USUAL_SHAPES, Payload, lora_tensors, number, write_safetensors, zeros

MODULE = "blocks.0.self_attn.q_proj"
KEY = f"diffusion_model.{MODULE}"
SHAPES = {name: USUAL_SHAPES[name] for name in (MODULE, "blocks.5.mlp.layer1")}


def inspect(folder: Path, tensors: dict[str, Payload]) -> lorakit.AdapterReport:
    return lorakit.inspect(write_safetensors(folder / "a.safetensors", tensors), hashes=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_told_from_the_module_before_it(suffix: str) -> None:
    parsed = parse_key(f"{KEY}.{suffix}")
    assert parsed is not None
    assert (parsed.module, parsed.part, parsed.path) == (MODULE, SUFFIXES[suffix], KEY)


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        (f"diffusion_model._orig_mod.{MODULE}.lora_A.weight", "comfy"),
        ("lora_unet__orig_mod_blocks_0_self_attn_q_proj.lora_down.weight", "kohya"),
        (f"{MODULE}.lora_A.default.weight", "peft"),
        (f"base_model.model.{MODULE}.lokr_w1.default", "peft"),
        (f"base_model.model.diffusion_model.{MODULE}.lora_A.weight", "peft"),
        ("lora_transformer_transformer_blocks_0_attn1_to_q.lora_down.weight", "kohya"),
        ("transformer.transformer_blocks.0.attn1.to_q.lora.down.weight", "diffusers"),
        ("transformer.transformer_blocks.0.attn1.to_q.lora_down.weight", "diffusers"),
        (f"transformer.{MODULE}.lora_A.weight", "diffusers"),
    ],
)
def test_marks_that_tools_leave_in_keys_are_read_over(key: str, layout: str) -> None:
    parsed = parse_key(key)
    assert parsed is not None
    assert (parsed.module, parsed.layout) == (MODULE, layout)


def test_the_text_adapters_blocks_are_not_taken_for_the_transformers() -> None:
    parsed = parse_key("lora_unet_llm_adapter_blocks_3_self_attn_q_proj.lora_down.weight")
    assert parsed is not None
    assert parsed.module == "llm_adapter.blocks.3.self_attn.q_proj"


def test_an_unknown_key_is_named_as_unused(tmp_path: Path) -> None:
    strange = {"_aux.slider": zeros("F32", [3]), f"{KEY}.lora_C.weight": zeros("F32", [2, 2])}
    report = inspect(tmp_path, lora_tensors("comfy", SHAPES, 4) | strange)
    assert report.unused_keys == tuple(strange)
    assert report.problems == ()
    assert [module.name for module in report.modules] == list(SHAPES)


@pytest.mark.parametrize(("gone", "lacking"), [("lora_A", "down"), ("lora_B", "up")])
def test_a_half_without_its_other_half_is_a_problem(
    tmp_path: Path, gone: str, lacking: str
) -> None:
    tensors = lora_tensors("comfy", SHAPES, 4)
    del tensors[f"{KEY}.{gone}.weight"]
    report = inspect(tmp_path, tensors)
    assert len(report.problems) == 1
    assert MODULE in report.problems[0]
    assert f"lacks {lacking}" in report.problems[0]


@pytest.mark.parametrize("suffix", ["alpha", "dora_scale"])
def test_a_scale_without_factors_is_a_problem_and_its_key_unused(
    tmp_path: Path, suffix: str
) -> None:
    tensors = lora_tensors("comfy", {"blocks.5.mlp.layer1": SHAPES["blocks.5.mlp.layer1"]}, 4)
    report = inspect(tmp_path, tensors | {f"{KEY}.{suffix}": number(1.0)})
    assert report.unused_keys == (f"{KEY}.{suffix}",)
    assert len(report.problems) == 1
    assert MODULE in report.problems[0]


def test_two_spellings_of_one_module_are_a_problem_and_both_are_named(tmp_path: Path) -> None:
    one = {MODULE: SHAPES[MODULE]}
    kohya, comfy = lora_tensors("kohya", one, 4), lora_tensors("comfy", one, 4)
    report = inspect(tmp_path, kohya | comfy)
    assert report.unused_keys == tuple(comfy)
    assert len(report.problems) == len(comfy)
    for problem, first, second in zip(report.problems, kohya, comfy, strict=True):
        assert first in problem
        assert second in problem


def test_layouts_come_by_frequency_when_a_file_mixes_them(tmp_path: Path) -> None:
    few = lora_tensors("kohya", {"blocks.9.mlp.layer2": (2048, 8192)}, 4)
    report = inspect(tmp_path, few | lora_tensors("comfy", SHAPES, 4))
    assert report.layouts == ("comfy", "kohya")
    assert report.problems == ()


@pytest.mark.parametrize(
    ("parts", "algo"),
    [
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), "loha"),
        (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "dora_scale"), "doha"),
        (("lokr_w1", "lokr_w2_a", "lokr_w2_b"), "lokr"),
        (("lokr_w1_a", "lokr_w1_b", "lokr_w2"), "lokr"),
        (("lokr_w1", "lokr_w2", "dora_scale"), "dokr"),
        (("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"), "dora"),
        (("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight"), "dora"),
        (("lora_A.weight", "lora_B.weight", "magnitude"), "dora"),
        (("a1.weight", "a2.weight", "b1.weight", "b2.weight"), "glora"),
        (("q_layer.weight", "p_layer.weight", "lambda_layer"), "tlora"),
        (("oft_blocks", "rescale"), "oft"),
        (("oft_R.weight",), "oftv2"),
        (("weight", "on_input"), "ia3"),
        (("diff",), "full"),
        (("diff", "diff_b"), "full"),
        (("w_norm",), "norm"),
        (("set_weight",), "set"),
    ],
)
def test_every_algorithm_is_known_by_its_parts(
    tmp_path: Path, parts: tuple[str, ...], algo: str
) -> None:
    report = inspect(tmp_path, {f"{KEY}.{part}": zeros("F32", [4, 4]) for part in parts})
    assert report.algos == (algo,)
    assert report.unused_keys == ()
    assert report.problems == ()


def test_the_missing_factor_of_a_kronecker_product_is_named(tmp_path: Path) -> None:
    tensors = {f"{KEY}.{part}": zeros("F32", [4, 4]) for part in ("lokr_w1", "lokr_w2_a")}
    (problem,) = inspect(tmp_path, tensors).problems
    assert "lokr_w2" in problem
