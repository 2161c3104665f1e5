import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new catalog, to be copied: making one takes half a second."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    Catalog.open(path).close()
    return path


@pytest.fixture
def catalog(
    tmp_path: Path, empty_catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Catalog]:
    path = tmp_path / "home" / "catalog.db"
    # Covers lie in the home, and whoever runs the tests may have some.
    monkeypatch.setenv("LORAKIT_HOME", str(path.parent))
    path.parent.mkdir()
    shutil.copy(empty_catalog, path)
    with Catalog.open(path) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the person keeps adapters."""
    path = tmp_path / "loras"
    path.mkdir()
    return path
