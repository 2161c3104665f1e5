"""Work side by side: in order, with the same bits on any number of cores, and errors where they are awaited."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from lorakit.merging.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def product(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(300, 700, generator=generator) @ torch.randn(700, 20, generator=generator)


def test_the_bits_do_not_depend_on_the_number_of_cores() -> None:
    found = []
    for threads_ in (1, 2, 3):
        torch.set_num_threads(threads_)
        found.append(list(side_by_side(partial(product, seed) for seed in range(9))))
        assert torch.get_num_threads() == threads_
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("cores", [1, 2])
def test_what_a_job_raises_is_raised_in_its_turn(cores: int) -> None:
    def job(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    got: list[int] = []
    with pytest.raises(ValueError, match="three"):
        got.extend(side_by_side((partial(job, n) for n in range(9)), cores=cores))
    running = side_by_side((partial(job, n) for n in range(9)), cores=cores)
    assert [next(running) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(running)
