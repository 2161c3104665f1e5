from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import cli, demo, demo_home, home, models, ready, stocked
from tests.sharing.machines import Machine, machine

__all__ = ["cli", "demo", "demo_home", "home", "models", "ready", "stocked"]


# Tests only read these.
@pytest.fixture(scope="session")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(
        tmp_path_factory.mktemp("mine"), {"ink": 1, "wash": 2, "both": 100}, "rdbt"
    ) as found:
        yield found


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The same files under other names, and another file that is called `ink`."""
    adapters = {"tinte": 1, "lavis": 2, "zwei": 100, "ink": 3, "wash": 4}
    with machine(tmp_path_factory.mktemp("theirs"), adapters, "grund") as found:
        yield found
