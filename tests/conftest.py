"""What holds for every test: how many threads PyTorch takes, and how patient Hypothesis is."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The tests' matrices are small, and the tests themselves run side by side (`make test`). This is read
# when PyTorch is loaded, and by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# On a busy machine an example may take long for no reason of its own. All else is Hypothesis's: in CI
# it tries the same examples every time, elsewhere new ones, keeping those that failed.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: it would look through all of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_core() -> Iterator[None]:
    """PyTorch works in one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
