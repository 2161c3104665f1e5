"""Merging adapters into one: the change of the result is the weighted sum of the changes, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.errors import Refused
from lorakit.merging.merge import merged
from tests.models import memory_adapter, random_lora, tiny_shapes, usual_names


def adapter(seed: int, rank: int = 4, blocks: int = 2) -> Adapter:
    return memory_adapter(random_lora(usual_names(blocks), blocks, rank=rank, seed=seed))


def deltas(found: Adapter) -> dict[str, torch.Tensor]:
    shapes = tiny_shapes(60)
    return {
        name: module.delta(torch.zeros(shapes[name], dtype=torch.float64))
        for name, module in found.modules.items()
    }


def test_the_change_of_a_merge_is_the_weighted_sum_of_the_changes() -> None:
    one, two = adapter(1, rank=3), adapter(2, rank=5)
    result = lorakit.merge([(one, 0.8), (two, -0.5)])
    first, second = deltas(one), deltas(two)
    for name, delta in deltas(result).items():
        wanted = 0.8 * first[name] - 0.5 * second[name]
        assert torch.allclose(delta, wanted, rtol=0, atol=1e-6 * float(wanted.abs().max()))


def test_opposite_changes_leave_nothing() -> None:
    result = lorakit.merge([(adapter(1), 1.0), (adapter(1), -1.0)])
    assert all(not delta.any() for delta in deltas(result).values())


def test_a_merged_adapter_is_not_saved_behind_the_gate(tmp_path: Path) -> None:
    result = lorakit.merge([(adapter(1), 1.0), (adapter(2), 1.0)])
    with pytest.raises(Refused, match="licences"):
        result.save(tmp_path / "out.safetensors", layout="kohya")


def test_a_rank_keeps_the_best_approximation_and_says_what_it_keeps() -> None:
    found = merged([(adapter(1), 1.0), (adapter(2), 1.0)], rank=3)
    whole = deltas(lorakit.merge([(adapter(1), 1.0), (adapter(2), 1.0)]))
    for fact in found.report.modules:
        module = found.adapter.modules[fact.name]
        assert isinstance(module, LoraModule)
        values = torch.linalg.svdvals(whole[fact.name])
        error = (module.delta(whole[fact.name]) - whole[fact.name]).norm()
        assert module.down.shape[0] == 3
        assert float(error) ** 2 == pytest.approx(fact.lost, rel=1e-4)
        assert float(error) ** 2 == pytest.approx(float(values[3:].square().sum()), rel=1e-4)
