"""Numbers that are not the weights: with a scale they become them, without one they are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lorakit.sketches.decoding import decode
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.sketch import Sketch
from tests.sketches.factories import LAYER, assert_same, expected, named, saved, weights

WEIGHTS = weights()
WANTED = expected(WEIGHTS)
KEY = f"net.{LAYER}"
SCALES = pytest.mark.parametrize("name", ["weight_scale", "scale_weight"])


def sketched(
    tmp_path: Path, beside: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> Sketch:
    """The sketch of the model with other tensors in the place of one layer's."""
    tensors = {key: t for key, t in named(WEIGHTS).items() if key != f"{KEY}.weight"}
    tensors |= {f"{KEY}.{tail}": tensor for tail, tensor in beside.items()}
    return sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors, metadata))


def is_left_alone(sketch: Sketch) -> None:
    assert sketch.undecided == (LAYER,)
    assert_same(sketch, {name: v for name, v in WANTED.items() if name != LAYER})


def config(**said: object) -> torch.Tensor:
    """ComfyUI's description of a layer's quantisation: JSON as bytes."""
    return torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)


def by_rows(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = matrix.abs().amax(1, keepdim=True) / 127
    return (matrix / scale).round().to(torch.int8), scale


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
        (torch.float8_e4m3fnuz, "F8_E4M3FNUZ"),
        (torch.float8_e5m2fnuz, "F8_E5M2FNUZ"),
        (torch.int8, "I8"),
        (torch.bfloat16, "BF16"),
        (torch.float16, "F16"),
    ],
)
def test_every_pattern_of_bits_is_what_torch_says(dtype: torch.dtype, code: str) -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    if dtype.itemsize == 2:
        raw = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(torch.uint8)
    wanted = raw.view(dtype).float().numpy()
    np.testing.assert_array_equal(decode(raw.numpy(), code), wanted)


@SCALES
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
@pytest.mark.parametrize("blocks", [(), (1,), (64,), (64, 1), (8, 6), (64, 12, 1)])
def test_one_scale_one_a_row_or_one_a_block(
    tmp_path: Path, name: str, dtype: torch.dtype, blocks: tuple[int, ...]
) -> None:
    scale = torch.rand(blocks) + 0.5
    stored = (torch.randn(64, 96) * 40).to(dtype)
    tall, wide = (*blocks, 1, 1)[:2]
    each = scale.reshape(tall, wide).repeat_interleave(64 // tall, 0)
    weight = stored.float() * each.repeat_interleave(96 // wide, 1)
    sketch = sketched(tmp_path, {"weight": stored, name: scale, "input_scale": torch.ones(())})
    assert_same(sketch, {**WANTED, **expected({LAYER: weight})})
    assert sketch.undecided == ()


def test_int8_by_rows_is_the_model_within_a_step(tmp_path: Path) -> None:
    tensors = {}
    for name, tensor in WEIGHTS.items():
        key = f"net.{name}"
        if tensor.ndim == 2:
            tensors[f"{key}.weight"], tensors[f"{key}.weight_scale"] = by_rows(tensor)
        else:
            tensors[f"{key}.weight"] = tensor
    sketch = sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors))
    assert sketch.dtype == "I8"
    assert_same(sketch, WANTED, tolerance=1 / 127)


@pytest.mark.parametrize("group", [4, 16])
def test_weights_that_convrot_has_turned_are_turned_back(tmp_path: Path, group: int) -> None:
    wanted = WEIGHTS[LAYER]
    # A matrix of another size of groups, by another way than the code's: H_4n from H_n, as published.
    seed = torch.tensor([[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]).float()
    turn = seed / 2 if group == 4 else torch.kron(seed, seed) / 4
    stored, scale = by_rows((wanted.reshape(64, -1, group) @ turn.T).reshape(64, 96))
    said = config(format="int8_tensorwise", convrot=True, convrot_groupsize=group)
    sketch = sketched(tmp_path, {"weight": stored, "weight_scale": scale, "comfy_quant": said})
    exact = (stored.float() * scale).reshape(64, -1, group) @ turn
    assert_same(sketch, {**WANTED, **expected({LAYER: exact.reshape(64, 96)})}, tolerance=1e-6)
    near = np.abs(sketch.values[LAYER] - WANTED[LAYER]).max()
    assert 0 < near < float(scale.max()) * group**0.5


def test_wide_groups_are_read_whole(tmp_path: Path) -> None:
    layer = torch.randn(64, 512)
    modules = {**WEIGHTS, LAYER: layer}
    seed = torch.ones(4, 4) - 2 * torch.eye(4).flip(0)
    turn = torch.kron(torch.kron(seed, seed), torch.kron(seed, seed)) / 16
    stored, scale = by_rows((layer.reshape(64, 2, 256) @ turn.T).reshape(64, 512))
    exact = ((stored.float() * scale).reshape(64, 2, 256) @ turn).reshape(64, 512)
    said = {"layers": {KEY: {"format": "int8_tensorwise", "convrot": True}}}
    sketch = sketched(
        tmp_path,
        {"weight": stored, "weight_scale": scale},
        {"_quantization_metadata": json.dumps(said)},
    )
    assert_same(sketch, expected({**modules, LAYER: exact}), tolerance=1e-5)


def test_bytes_that_hold_8_bit_floats(tmp_path: Path) -> None:
    stored = WEIGHTS[LAYER].mul(100).to(torch.float8_e4m3fn)
    said = config(format="float8_e4m3fn", full_precision_matrix_mult=True)
    scale = torch.tensor(0.01)
    beside = {"weight": stored.view(torch.uint8), "weight_scale": scale, "comfy_quant": said}
    weight = stored.float() * scale
    assert_same(sketched(tmp_path, beside), {**WANTED, **expected({LAYER: weight})})


PLAIN = torch.zeros(64, 96, dtype=torch.int8)
ROWS = torch.ones(64, 1)


@pytest.mark.parametrize(
    "beside",
    [
        {"weight": PLAIN},
        {"weight": PLAIN.view(torch.uint8), "weight_scale": ROWS},
        {"weight": PLAIN.view(torch.uint8)},
        {"weight": PLAIN.int(), "weight_scale": ROWS},
        # Neither rows nor columns, and blocks that are not equal.
        {"weight": PLAIN, "weight_scale": torch.ones(96)},
        {"weight": PLAIN, "weight_scale": torch.ones(7, 5)},
        {"weight": PLAIN, "weight_scale": torch.ones(64, 3, 2)},
        {"weight": PLAIN, "weight_scale": ROWS, "scale_weight": ROWS},
        {"weight": PLAIN, "weight_scale": torch.full((64, 1), torch.nan)},
        {"weight": PLAIN, "weight_scale": ROWS, "zero_point": ROWS},
        {"weight": PLAIN, "weight_scale": ROWS, "weight_scale_2": ROWS},
        {"weight": PLAIN, "weight_scale": ROWS, "pre_quant_scale": torch.ones(96)},
        {"weight": PLAIN, "weight_scale": ROWS, "svd_up": torch.ones(64, 4)},
        {"weight": PLAIN, "SCB": torch.ones(64), "weight_format": torch.zeros(())},
        {"weight": PLAIN.float(), "weight_scale": ROWS * 2},
        {"weight": PLAIN.float(), "lora_A.weight": ROWS},
        {"weight": torch.zeros(64, 96, 3, 3)},
        {"weight": torch.zeros(0, 96)},
        # bitsandbytes' nf4, optimum-quanto, GPTQ, and ComfyUI's 4-bit forms.
        {
            "weight": torch.zeros(3072, 1, dtype=torch.uint8),
            "weight.absmax": torch.ones(96),
            "weight.quant_map": torch.ones(16),
            "weight.quant_state.bitsandbytes__nf4": torch.ones(8, dtype=torch.uint8),
        },
        {"weight._data": PLAIN, "weight._scale": ROWS},
        {"qweight": PLAIN.int(), "qzeros": PLAIN.int(), "scales": ROWS},
        {"weight": PLAIN.view(torch.uint8), "weight_scale": ROWS, "comfy_quant": config(format="nvfp4")},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(format="convrot_w4a4")},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(format="float8_e4m3fn")},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(format=["int8_tensorwise"])},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(format="int8_tensorwise", x=1)},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(convrot=True, convrot_groupsize=7)},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(convrot=True)},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": config(params=3)},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": torch.ones(5000, dtype=torch.uint8)},
        {"weight": PLAIN, "weight_scale": ROWS, "comfy_quant": torch.full((9,), 255, dtype=torch.uint8)},
    ],
    ids=lambda beside: " ".join(beside),
)  # fmt: skip
def test_what_is_not_understood_is_left_alone_by_name(
    tmp_path: Path, beside: dict[str, torch.Tensor]
) -> None:
    is_left_alone(sketched(tmp_path, beside))


@pytest.mark.parametrize("said", ["{", "[]", '{"layers": []}', '{"layers": {}}', "{}"])
def test_a_header_that_says_nothing_of_use_changes_nothing(tmp_path: Path, said: str) -> None:
    path = saved(tmp_path / "a.safetensors", named(WEIGHTS), {"_quantization_metadata": said})
    assert_same(sketch_checkpoint(path), WANTED)
