from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "home" / "catalog.db") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the person keeps adapters."""
    path = tmp_path / "loras"
    path.mkdir()
    return path
