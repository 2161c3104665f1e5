from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from tests.catalog.factories import write_adapter
from tests.cli.running import LEFT_OUT
from tests.network.server import Civitai, LocalServer, serving


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, no key, no login and no cache of the person who runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in (*LEFT_OUT, "LORAKIT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "CIVITAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    # Whatever a test forgets to send to its own server goes nowhere.
    monkeypatch.setenv("LORAKIT_CIVITAI", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def site() -> Civitai:
    return Civitai()


@pytest.fixture
def civitai(site: Civitai, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    with serving(site) as local:
        monkeypatch.setenv("LORAKIT_CIVITAI", local.address)
        yield local


@pytest.fixture(scope="session")
def stocked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of two adapters, ink and wash."""
    root = tmp_path_factory.mktemp("stocked")
    names = enumerate(("ink", "wash"), start=1)
    paths = [write_adapter(root / f"{name}.safetensors", seed) for seed, name in names]
    with Catalog.open(root / "home" / "catalog.db") as opened:
        opened.add(paths)
    return root / "home"


@pytest.fixture
def catalog(stocked_home: Path, tmp_path: Path) -> Iterator[Catalog]:
    """Two adapters, ink and wash, in the catalog that the command line uses too."""
    shutil.copytree(stocked_home, tmp_path / "home")
    with Catalog.open() as opened:
        yield opened


@pytest.fixture
def ink(catalog: Catalog) -> str:
    """The hash of ink's file."""
    path = catalog.resolve("ink").existing_path()
    return hashlib.sha256(path.read_bytes()).hexdigest()
