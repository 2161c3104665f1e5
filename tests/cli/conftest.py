from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lorakit.cli.main import run
from lorakit.preview.demo_model import DemoModel, write_demo_adapters, write_demo_model
from tests.catalog.factories import write_adapter
from tests.cli.running import LEFT_OUT, Ran
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

Cli = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the catalog of the test is."""
    for name in LEFT_OUT:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home"
    monkeypatch.setenv("LORAKIT_HOME", str(path))
    return path


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line in this process."""

    def call(*words: str | Path, stdin: str = "") -> Ran:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two adapters that are quickly written, in a folder."""
    path = tmp_path / "loras"
    write_adapter(path / "ink.safetensors", 1, {"modelspec.license": "CC0-1.0"})
    write_adapter(path / "wash.safetensors", 2)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A small base and two adapters that fit it."""
    path = tmp_path / "models"
    path.mkdir()
    tiny_base_file(path / "base.safetensors")
    names = usual_names(3)
    lora_file(
        path / "ink.safetensors", random_lora(names, 3), metadata={"modelspec.license": "CC0-1.0"}
    )
    lora_file(
        path / "wash.safetensors",
        random_lora(names, 3, rank=8, seed=1),
        "comfy",
        {"modelspec.license": "CC-BY-4.0"},
    )
    return path


@pytest.fixture
def stocked(cli: Cli, models: Path) -> Cli:
    """The command line with `models` in its catalog, the base registered as Anima's own."""
    assert (
        cli("base", "add", models / "base.safetensors", "--name", "own", "--as", "anima").code == 0
    )
    assert cli("add", models / "ink.safetensors", models / "wash.safetensors").code == 0
    return cli


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoModel:
    """The demo's model, with its adapters in the folder `loras` beside it."""
    model = write_demo_model(tmp_path_factory.mktemp("demo"))
    loras = model.checkpoint.parent / "loras"
    loras.mkdir()
    write_demo_adapters(loras)
    return model


@pytest.fixture(scope="session")
def demo_home(demo: DemoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the demo's model, as RDBT, and of its adapters."""
    path = tmp_path_factory.mktemp("demo-home")
    words = ("--name", "demo", "--as", "rdbt", "--components", str(demo.components), "-q")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAKIT_HOME", str(path))
        assert run(["base", "add", str(demo.checkpoint), *words]) == 0
        assert run(["add", str(demo.checkpoint.parent / "loras"), "-q"]) == 0
    return path


@pytest.fixture
def ready(cli: Cli, home: Path, demo_home: Path) -> Cli:
    """The command line with the demo's model and adapters in its catalog."""
    shutil.copytree(demo_home, home)
    return cli
