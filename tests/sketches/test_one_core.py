"""Small pieces of work are not shared among threads, and what comes after finds PyTorch as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lorakit.adapters.adapter import LowRank
from lorakit.adapters.lora import LoraModule
from lorakit.report.portrait import curves_of
from lorakit.sketches.adapters import sketch_adapter
from lorakit.sketches.one_core import one_core
from tests.models import memory_adapter, random_lora, usual_names


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_comes_back() -> None:
    with one_core():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), one_core():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_sketch_and_spectra_are_taken_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    low_rank, qr = LoraModule.low_rank, torch.linalg.qr

    def watched(module: LoraModule) -> LowRank | None:
        seen.append(torch.get_num_threads())
        return low_rank(module)

    def watched_qr(*arguments: object, **options: object) -> object:
        seen.append(torch.get_num_threads())
        return qr(*arguments, **options)

    monkeypatch.setattr(LoraModule, "low_rank", watched)
    monkeypatch.setattr(torch.linalg, "qr", watched_qr)
    adapter = memory_adapter(random_lora(usual_names(2), 2, seed=0))
    assert len(sketch_adapter(adapter).values) == 20
    assert len(seen) == 20
    assert curves_of(adapter, [0, 1])
    assert len(seen) == 60
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
