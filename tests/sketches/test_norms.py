"""Norms of bases and of what adapters change, held against whole matrices in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lorakit.sketches.norms import base_norms, delta_norms, joined, relative
from tests.sketches.algorithms import ON_WEIGHT, PARTS, adapter
from tests.sketches.factories import IN, LAYER, OUT, named, saved, weights

WEIGHT = torch.randn(OUT, IN, generator=torch.Generator().manual_seed(5)) * 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_a_base_has_the_norm_of_each_matrix(tmp_path: Path, dtype: torch.dtype) -> None:
    modules = {name: tensor.to(dtype) for name, tensor in weights().items()}
    found = base_norms(saved(tmp_path / "base.safetensors", named(modules)))
    matrices = {name: tensor for name, tensor in modules.items() if tensor.ndim > 1}
    assert found.keys() == matrices.keys()
    for name, tensor in matrices.items():
        assert found[name] == pytest.approx(float(tensor.double().norm()), rel=1e-6)


def test_a_matrix_that_is_not_finite_has_no_norm(tmp_path: Path) -> None:
    modules = weights()
    modules[LAYER][3, 3] = torch.inf
    assert LAYER not in base_norms(saved(tmp_path / "base.safetensors", named(modules)))


@pytest.mark.parametrize("algorithm", [*PARTS, *ON_WEIGHT])
def test_an_adapter_has_the_norm_of_its_whole_change(algorithm: str) -> None:
    whole_adapter = adapter(algorithm)
    whole = whole_adapter.modules[LAYER].delta(WEIGHT.double())
    assert delta_norms(whole_adapter, {LAYER: WEIGHT}.__getitem__)[LAYER] == pytest.approx(
        float(whole.norm()), rel=1e-5
    )
    assert (LAYER in delta_norms(whole_adapter)) == (algorithm in PARTS)


def test_what_is_changed_is_held_against_the_whole_base() -> None:
    base = {"blocks.0.mlp.layer1": 3.0, "blocks.0.mlp.layer2": 4.0}
    assert joined(base.values()) == 5.0
    assert relative({"blocks.0.mlp.layer1": 1.0}, base) == 0.2
    assert relative({"blocks.0.mlp.layer1": 1.0}, {}) is None
