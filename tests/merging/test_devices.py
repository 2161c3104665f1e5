"""The workshop on a CUDA device, which is pretended: the CPU's numbers, and nothing of two places in one operation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.merging.methods.table import METHODS
from lorakit.strengths import Strength
from tests.fusion.test_devices import every_algorithm
from tests.merging.test_merge import BASE, WIDE, Q
from tests.models import memory_adapter, random_lora
from tests.pretend_cuda import pretend_cuda

Entry = tuple[Adapter, float | Strength]


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plain(seed: int) -> Adapter:
    return memory_adapter(random_lora([Q, WIDE], 2, rank=4, seed=seed))


def assert_same(found: Adapter, wanted: Adapter) -> None:
    """Bit by bit, all in main memory."""
    one, other = (lorakit.fuse(BASE, [(made, 1.0)]).by_canonical_name() for made in (found, wanted))
    assert found.modules.keys() == wanted.modules.keys()
    for name in wanted.modules:
        assert torch.equal(one[f"{name}.weight"], other[f"{name}.weight"]), name


@pytest.mark.parametrize("method", METHODS)
def test_a_merge_by_every_method(method: str) -> None:
    entries: list[Entry] = [(plain(1), 0.6), (plain(2), -0.5)]
    for options in ({}, {"rank": 3}):
        wanted = lorakit.merge(entries, method=method, **options)
        with pretend_cuda():
            assert_same(lorakit.merge(entries, method=method, device="cuda", **options), wanted)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("sum", {}),
        ("sum", {"energy": 0.9}),
        ("sum", {"full_diffs": True}),
        ("ties", {}),
        ("core", {}),
    ],
)
def test_a_merge_of_every_algorithm(tmp_path: Path, method: str, options: dict[str, float]) -> None:
    one, other = every_algorithm(tmp_path)
    entries: list[Entry] = [(one, 0.6), (plain(1), 0.5), (other, 0.7)]
    wanted = lorakit.merge(entries, method=method, base=BASE, **options)
    with pretend_cuda():
        assert_same(
            lorakit.merge(entries, method=method, base=BASE, device="cuda", **options), wanted
        )
