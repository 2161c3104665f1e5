"""What `lorakit.inspect` says of ranks, alphas, shapes and files that are something else."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lorakit
from tests.factories import (
    ANIMA_SHAPES,
    USUAL_SHAPES,
    Payload,
    checkpoint_shapes,
    lora_tensors,
    number,
    write_safetensors,
    zeros,
)

NAMES = ("blocks.0.self_attn.q_proj", "blocks.5.cross_attn.k_proj", "blocks.27.mlp.layer1")
SHAPES = {name: USUAL_SHAPES[name] for name in NAMES}
FIRST = "lora_unet_blocks_0_self_attn_q_proj"


def inspect(
    folder: Path, tensors: Mapping[str, Payload], metadata: Mapping[str, str] | None = None
) -> lorakit.AdapterReport:
    path = write_safetensors(folder / "a.safetensors", tensors, metadata)
    report = lorakit.inspect(path, hashes=False)
    # Whatever a test is about, the report must be JSON as every reader takes it.
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report.to_dict() | {
        "info": json.loads(json.dumps(report.to_dict()["info"]))
    }
    return report


def kohya(rank: int = 4, **changes: Any) -> dict[str, Payload]:
    return lora_tensors("kohya", SHAPES, rank, **changes)


def test_the_rank_comes_from_the_shapes_and_not_from_the_metadata(tmp_path: Path) -> None:
    report = inspect(tmp_path, kohya(4), {"ss_network_dim": "128"})
    assert report.ranks == {4: len(SHAPES)}
    assert report.info.claimed_rank == "128"


def test_mixed_ranks_are_counted_apart(tmp_path: Path) -> None:
    more = {"blocks.1.mlp.layer2": (2048, 8192)}
    report = inspect(tmp_path, lora_tensors("kohya", more, 32, alpha=16) | kohya(4, alpha=1))
    assert report.ranks == {4: len(SHAPES), 32: 1}
    assert report.alphas == {1.0: len(SHAPES), 16.0: 1}
    assert {module.rank: module.scale for module in report.modules} == {4: 1 / 4, 32: 16 / 32}


def test_the_shape_of_the_weight_comes_from_the_factors(tmp_path: Path) -> None:
    for module in inspect(tmp_path, kohya()).modules:
        assert module.shape == SHAPES[module.name]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "I64"])
def test_alpha_over_rank_is_the_scale_however_alpha_is_stored(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    alpha = number(8, dtype, shape)
    report = inspect(tmp_path, kohya(16) | {f"{FIRST}.alpha": alpha})
    assert [(m.alpha, m.scale) for m in report.modules] == [(8, 8 / 16), (None, 1), (None, 1)]


def test_without_alpha_the_scale_is_one(tmp_path: Path) -> None:
    report = inspect(tmp_path, kohya(16))
    assert {(module.alpha, module.scale) for module in report.modules} == {(None, 1.0)}


def test_an_alpha_of_nought_is_a_scale_of_nought(tmp_path: Path) -> None:
    assert {module.scale for module in inspect(tmp_path, kohya(alpha=0)).modules} == {0.0}


@pytest.mark.parametrize(
    "alpha",
    [number(math.inf, "F16"), number(math.nan), zeros("F32", [2]), zeros("F8_E4M3", [])],
    ids=["inf", "nan", "two numbers", "fp8"],
)
def test_an_alpha_that_gives_no_scale_is_a_problem(tmp_path: Path, alpha: Payload) -> None:
    report = inspect(tmp_path, kohya() | {f"{FIRST}.alpha": alpha})
    (problem,) = report.problems
    assert NAMES[0] in problem
    assert "alpha" in problem


def test_full_kronecker_factors_ignore_whatever_alpha_says(tmp_path: Path) -> None:
    key = f"diffusion_model.{NAMES[0]}"
    factors = {f"{key}.lokr_w1": zeros("F32", [8, 8]), f"{key}.lokr_w2": zeros("F32", [256, 256])}
    report = inspect(tmp_path, factors | {f"{key}.alpha": number(math.inf, "F16")})
    assert report.problems == ()
    assert [(module.rank, module.scale) for module in report.modules] == [(None, 1.0)]


def test_many_alphas_stay_apart_in_the_json(tmp_path: Path) -> None:
    alphas = [1.0, 1.0000001, math.nan]
    keys = [key.removesuffix(".lora_down.weight") for key in kohya() if "down" in key]
    tensors = {f"{k}.alpha": number(a, "F64") for k, a in zip(keys, alphas, strict=True)}
    found = inspect(tmp_path, kohya() | tensors).to_dict()["alphas"]
    assert found == {"1": 1, "1.0000001": 1, "nan": 1}


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 2048), (2048, 8)), ((4, 2048), (2048,)), ((), (2048, 4)), ((2048, 4), (2048, 4))],
)
def test_factors_that_do_not_multiply_are_a_problem(
    tmp_path: Path, down: tuple[int, ...], up: tuple[int, ...]
) -> None:
    odd = {
        f"{FIRST}.lora_down.weight": zeros("F32", down),
        f"{FIRST}.lora_up.weight": zeros("F32", up),
    }
    (problem,) = inspect(tmp_path, kohya() | odd).problems
    assert NAMES[0] in problem
    assert str(list(down)) in problem
    assert str(list(up)) in problem


def test_a_1x1_convolution_is_a_linear_layer(tmp_path: Path) -> None:
    conv = {
        f"{FIRST}.lora_down.weight": zeros("F32", [4, 2048, 1, 1]),
        f"{FIRST}.lora_up.weight": zeros("F32", [2048, 4, 1, 1]),
    }
    report = inspect(tmp_path, conv)
    assert report.problems == ()
    assert report.modules[0].shape == SHAPES[NAMES[0]]


def test_a_checkpoint_is_no_adapter_and_every_key_is_named(tmp_path: Path) -> None:
    tensors = {key: zeros("BF16", shape) for key, shape in checkpoint_shapes().items()}
    report = inspect(tmp_path, tensors)
    assert report.modules == ()
    assert report.layouts == ()
    assert report.model_blocks is None
    assert set(report.unused_keys) == set(tensors)
    assert "No Anima adapter" in report.notes[0]


def test_an_adapter_for_another_architecture_is_no_adapter(tmp_path: Path) -> None:
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{key}.lora_down.weight": zeros("F16", [8, 640]),
        f"{key}.lora_up.weight": zeros("F16", [640, 8]),
        f"{key}.alpha": number(4, "F16"),
    }
    report = inspect(tmp_path, tensors)
    assert report.modules == ()
    assert report.unused_keys == tuple(tensors)
    assert "An adapter for Stable Diffusion" in report.notes[0]


def test_a_file_without_tensors_is_no_adapter(tmp_path: Path) -> None:
    report = inspect(tmp_path, {})
    assert (report.modules, report.dtypes, report.blocks) == ((), {}, ())
    assert "No Anima adapter" in report.notes[0]


@pytest.mark.parametrize(("highest", "size"), [(27, 28), (28, 40), (51, 52)])
def test_the_highest_block_tells_the_model_size(tmp_path: Path, highest: int, size: int) -> None:
    modules = {f"blocks.{i}.mlp.layer1": (8192, 2048) for i in (2, highest)}
    report = inspect(tmp_path, lora_tensors("comfy", modules, 4))
    assert report.model_blocks == size
    assert report.blocks == (2, highest)


def test_a_block_beyond_every_model_is_noted(tmp_path: Path) -> None:
    report = inspect(tmp_path, lora_tensors("comfy", {"blocks.52.mlp.layer1": (8, 8)}, 4))
    assert report.model_blocks is None
    assert any("Block 52" in note for note in report.notes)


@pytest.mark.parametrize("layout", ["kohya", "comfy", "diffusers", "peft", "original", "lycoris"])
def test_every_linear_of_the_model_is_reported_in_every_layout(tmp_path: Path, layout: str) -> None:
    report = inspect(tmp_path, lora_tensors(layout, ANIMA_SHAPES, 8, alpha=4))
    assert report.layouts == (layout,)
    assert {module.name: module.shape for module in report.modules} == ANIMA_SHAPES
    assert {module.scale for module in report.modules} == {0.5}
    assert report.components == {"dit": 454, "llm_adapter": 61}


def test_inspecting_loads_no_heavy_package(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", kohya(alpha=1))
    heavy = ("torch", "numpy", "sqlalchemy", "huggingface_hub", "safetensors")
    code = (
        "import sys, lorakit; "
        f"assert len(lorakit.inspect({str(path)!r}).modules) == {len(SHAPES)}; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
