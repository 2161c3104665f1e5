"""Several files at a time: in order, each with its share of the cores, and none left half done."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from threading import Event, current_thread, main_thread

import pytest
import torch

from lorakit.errors import LorakitError, NotFusable
from lorakit.gate.derived import Progress
from lorakit.merging.many_files import each_file


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def counted(number: int, update: Progress) -> tuple[int, int, bool]:
    update(0, 1, "")
    if number == 2:
        raise NotFusable("two")
    if number == 3:
        raise OSError(28, "No space left on device", "three.safetensors")
    return number, torch.get_num_threads(), current_thread() is main_thread()


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_results_and_errors_come_in_order(cores: int) -> None:
    found = list(each_file([partial(counted, n) for n in range(7)], 1, cores=cores))
    assert [one[0] for one in found if not isinstance(one, LorakitError)] == [0, 1, 4, 5, 6]
    two, three = (one for one in found if isinstance(one, LorakitError))
    assert (type(two), two.message) == (NotFusable, "two")
    assert three.message == "three.safetensors: No space left on device."


def test_each_file_has_its_share_of_the_cores_and_the_last_ones_have_more() -> None:
    torch.set_num_threads(4)
    for count, largest, shares in ((5, 1, [1, 1, 1, 1, 4]), (6, 400 << 20, [2] * 6)):
        found = each_file([partial(counted, 9) for _ in range(count)], largest, cores=4)
        assert [one[1] for one in found if not isinstance(one, LorakitError)] == shares
        assert torch.get_num_threads() == 4
    for alone in (
        each_file([partial(counted, 9)], 1),
        each_file([partial(counted, 9)] * 2, 2 << 30),
    ):
        assert all(not isinstance(one, LorakitError) and one[1:] == (4, True) for one in alone)


def test_a_consumer_that_breaks_off_stops_what_is_at_work() -> None:
    waiting, left = Event(), []

    def job(number: int, update: Progress) -> int:
        if number == 0:
            waiting.wait(10)
            return number
        waiting.set()
        try:
            while True:
                update(0, 1, "")
        except KeyboardInterrupt:
            left.append(number)
            raise

    running = each_file([partial(job, n) for n in range(9)], 1, cores=2)
    assert next(running) == 0
    running.close()
    # The core that gave the first may have begun another, and none begins after these.
    assert sorted(left) in ([1], [1, 2])
