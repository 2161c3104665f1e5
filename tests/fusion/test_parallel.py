"""Weights fused side by side on a CPU: as many threads as one likes, the same results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.errors import NotFusable
from lorakit.fusion.engine import stream_fused
from lorakit.fusion.pages import empty_result
from tests.models import memory_adapter, random_lora, tiny_base, usual_names

NAMES = usual_names(3)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_number_of_threads_changes_no_byte(dtype: torch.dtype) -> None:
    base = tiny_base(dtype=dtype)
    stack = [(memory_adapter(random_lora(NAMES, 3, seed=i)), 0.3 + i) for i in range(3)]
    found = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        found += [lorakit.fuse(base, stack), dict(stream_fused(base, stack))]
        assert torch.get_num_threads() == count
    assert all(torch.equal(found[0][key], other[key]) for other in found for key in base)
    assert list(found[1]) == list(base)


class Broken:
    """A patch that does not fit its weight."""

    def low_rank(self) -> None:
        return None

    def delta(self, weight: torch.Tensor, dora: str = "trainer") -> torch.Tensor:
        raise RuntimeError("sizes differ")


@pytest.mark.usefixtures("threads")
def test_an_error_in_one_weight_is_the_callers_and_leaves_the_threads_alone() -> None:
    torch.set_num_threads(3)
    good = memory_adapter(random_lora(NAMES, 3))
    bad = Adapter(good.path, {**good.modules, NAMES[7]: Broken()}, good.report)
    with pytest.raises(NotFusable, match=NAMES[7]):
        lorakit.fuse(tiny_base(), [(bad, 1.0)])
    # A consumer that goes away early stops the rest.
    stream = stream_fused(tiny_base(), [(good, 1.0)])
    next(stream)
    stream.close()
    assert torch.get_num_threads() == 3
    assert torch.ones(4, 4).matmul(torch.ones(4, 4)).sum() == 64


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("factors", [torch.bfloat16, torch.float32])
def test_a_weight_of_many_pages_is_as_exact_as_a_small_one(
    stored: torch.dtype, factors: torch.dtype
) -> None:
    name, shape = "blocks.0.mlp.layer1", (2048, 1536)
    generator = torch.Generator().manual_seed(0)
    base = tiny_base(dtype=stored)
    base[f"net.{name}.weight"] = (torch.randn(shape, generator=generator) * 0.02).to(stored)
    up, down = (
        (torch.randn(s, generator=generator) * 0.05).to(factors)
        for s in ((shape[0], 6), (6, shape[1]))
    )
    fused = lorakit.fuse(base, [(memory_adapter({name: LoraModule(up, down, 0.7)}), 0.9)])
    wanted = base[f"net.{name}.weight"].double() + 0.63 * up.double() @ down.double()
    error = (fused[f"net.{name}.weight"].double() - wanted).norm()
    ideal = (wanted.to(stored).double() - wanted).norm()
    assert error <= ideal * (1.02 if stored == torch.bfloat16 else 5)


def test_results_stand_alone_and_outlive_each_other() -> None:
    shape = torch.Size((2048, 2048))
    tensors = [empty_result(shape, torch.float32).fill_(i) for i in range(3)]
    kept = tensors.pop(1)
    del tensors
    assert kept.shape == shape
    assert kept.is_contiguous()
    assert bool((kept == 1).all())
    assert empty_result(torch.Size((3, 5)), torch.bfloat16).shape == (3, 5)
