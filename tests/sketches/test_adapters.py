"""The sketch of an adapter is the delta at the places of a sketch, and adds up with that of the base."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.sketches.adapters import null_sketches, sketch_adapter
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.sketch import Sketch
from tests.models import memory_adapter
from tests.sketches.algorithms import ALL, ON_WEIGHT, PARTS, adapter
from tests.sketches.factories import LAYER, assert_same, expected, named, saved, weights

WEIGHTS = weights()
BASE = named(WEIGHTS)
BASE_VALUES = expected(WEIGHTS)


def weight_of(module: str) -> torch.Tensor:
    return WEIGHTS[module]


@cache
def sketched(algo: str) -> Sketch:
    return sketch_adapter(adapter(algo), weight_of)


@pytest.mark.parametrize("algo", sorted(ALL))
def test_the_sketch_is_the_delta_where_a_sketch_looks(algo: str) -> None:
    delta = adapter(algo).modules[LAYER].delta(WEIGHTS[LAYER])
    sketch = sketched(algo)
    assert_same(sketch, expected({LAYER: delta}), tolerance=1e-6)
    assert (sketch.blocks, sketch.undecided) == (28, ())
    if algo in PARTS:
        assert_same(sketch_adapter(adapter(algo)), sketch.values)
    else:
        alone = sketch_adapter(adapter(algo))
        assert (dict(alone.values), alone.undecided) == ({}, (LAYER,))


def test_factors_of_rank_0_change_nothing() -> None:
    rows, columns = WEIGHTS[LAYER].shape
    nothing = LoraModule(torch.zeros(rows, 0), torch.zeros(0, columns), 1.0)
    sketch = sketch_adapter(memory_adapter({LAYER: nothing}))
    assert_same(sketch, expected({LAYER: torch.zeros(rows, columns)}))


def fused(stack: list[tuple[Adapter, float]], dtype: torch.dtype) -> Sketch:
    """The sketch of the fused model, from a file."""
    with TemporaryDirectory() as folder:
        result = lorakit.fuse(BASE, stack, dtype=dtype)
        return sketch_checkpoint(saved(Path(folder) / "a.safetensors", dict(result)))


@given(
    st.sampled_from(sorted(ALL)), st.sampled_from(sorted(ALL)), st.floats(-2, 2), st.floats(-2, 2)
)
def test_sketches_add_up_as_weights_do(one: str, other: str, first: float, second: float) -> None:
    found = fused([(adapter(one), first), (adapter(other), second)], torch.float32)
    changes = (first * sketched(one).values[LAYER], second * sketched(other).values[LAYER])
    largest = max(float(np.abs(change).max()) for change in changes)
    assert_same(
        Sketch({LAYER: found.values[LAYER]}, "F32", 2),
        {LAYER: BASE_VALUES[LAYER] + sum(changes)},
        tolerance=1e-5 * max(1, largest),
    )
    for name, values in found.values.items():
        if name != LAYER:
            np.testing.assert_array_equal(values, BASE_VALUES[name])


def test_rounding_to_bf16_is_all_that_differs_in_bf16() -> None:
    found = fused([(adapter("lora"), 0.7)], torch.bfloat16)
    exact = BASE_VALUES[LAYER] + np.float32(0.7) * sketched("lora").values[LAYER]
    assert found.dtype == "BF16"
    np.testing.assert_allclose(found.values[LAYER], exact, rtol=2**-8, atol=1e-7)


def test_without_a_fitting_weight_a_module_is_undecided() -> None:
    nothing: dict[str, torch.Tensor] = {}
    for algo in sorted(ON_WEIGHT):
        assert sketch_adapter(adapter(algo), nothing.__getitem__).undecided == (LAYER,)
    wrong = {LAYER: torch.ones(3, 5)}
    assert sketch_adapter(adapter("dora"), wrong.__getitem__).undecided == (LAYER,)


def test_text_encoder_norms_and_broken_factors_are_left_out(tmp_path: Path) -> None:
    stem = "diffusion_model.blocks.1"
    path = saved(
        tmp_path / "a.safetensors",
        {
            f"{stem}.mlp.layer2.lora_A.weight": torch.full((1, 64), torch.inf),
            f"{stem}.mlp.layer2.lora_B.weight": torch.ones(96, 1),
            f"{stem}.self_attn.q_norm.diff": torch.ones(16),
            f"{stem}.self_attn.q_proj.lora_A.weight": torch.ones(1, 96).half(),
            f"{stem}.self_attn.q_proj.lora_B.weight": torch.ones(96, 1).half(),
            "text_encoders.qwen3_06b.transformer.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(1, 8),
            "text_encoders.qwen3_06b.transformer.model.layers.0.mlp.up_proj.lora_B.weight": torch.ones(8, 1),
        },
    )  # fmt: skip
    sketch = sketch_adapter(lorakit.load_adapter(path))
    assert list(sketch.values) == ["blocks.1.self_attn.q_proj"]
    assert sketch.undecided == ("blocks.1.mlp.layer2",)


def lora(rank: int) -> Adapter:
    generator = torch.Generator().manual_seed(rank)
    shapes = {f"blocks.{n}.mlp.layer1": (512, 256) for n in range(4)}
    return memory_adapter(
        {
            name: LoraModule(
                torch.randn(out, rank, generator=generator),
                torch.randn(rank, inner, generator=generator),
                0.5,
            )
            for name, (out, inner) in shapes.items()
        }
    )


def joined(sketch: Sketch) -> np.ndarray:
    return np.concatenate(list(sketch.values.values()))


@pytest.mark.parametrize("rank", [2, 16, 64])
def test_nulls_are_as_large_as_the_delta_and_unrelated_to_it(rank: int) -> None:
    own = sketch_adapter(lora(rank))
    nulls = null_sketches(lora(rank), seed=1, count=20)
    true = joined(own)
    for null in nulls:
        assert null.values.keys() == own.values.keys()
        other = joined(null)
        assert 0.8 < np.linalg.norm(other) / np.linalg.norm(true) < 1.25
    close = [joined(n) @ true / np.linalg.norm(joined(n)) / np.linalg.norm(true) for n in nulls]
    # Components paired anew have nothing in common with the delta; signs drawn anew have it by chance.
    assert max(np.abs(close[1::2])) < 0.1
    assert abs(np.mean(close[0::2])) < 1.2 / (4 * rank) ** 0.5
    assert len({tuple(joined(null)[:4]) for null in nulls}) > 3


def test_nulls_keep_the_rank() -> None:
    # Of a matrix of 32 x 32 a sketch holds every number.
    factors = LoraModule(torch.randn(32, 5), torch.randn(5, 32), 1.0)
    made = memory_adapter({"blocks.0.self_attn.q_proj": factors})
    for null in null_sketches(made, seed=0, count=6):
        (values,) = null.values.values()
        assert np.linalg.matrix_rank(values.reshape(32, 32)) == 5


def test_nulls_come_again_with_the_seed() -> None:
    first, second, third = (null_sketches(lora(8), seed, count=6) for seed in (5, 5, 6))
    for one, other in zip(first, second, strict=True):
        assert_same(one, other.values)
    assert all((joined(a) != joined(b)).any() for a, b in zip(first, third, strict=True))


def test_what_has_one_component_only_may_change_its_sign() -> None:
    for made in (lora(1), adapter("loha")):
        own = sketch_adapter(made)
        signs = set()
        for null in null_sketches(made, seed=0, count=8):
            for name, values in null.values.items():
                ratio = values / own.values[name]
                np.testing.assert_allclose(ratio, ratio[0])
                signs.add(float(np.sign(ratio[0])))
        assert signs == {-1.0, 1.0}
    assert null_sketches(adapter("dora"), 0, 1)[0].values == {}
    assert null_sketches(lora(2), 0, 0) == []
