"""Which folders are proposed, and that the search stays within bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorakit.catalog import Catalog, discovering
from tests.catalog.factories import write_adapter


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No program of this machine has its settings here."""
    path = tmp_path / "config"
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, **_: path / name)
    return path


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")


def proposed(catalog: Catalog, *roots: Path) -> dict[str, str]:
    found = catalog.discover(roots)
    assert found.complete
    return {str(one.folder): one.program for one in found.proposals}


def test_every_program_by_its_standard_folders(catalog: Catalog, tmp_path: Path) -> None:
    home = tmp_path / "user"
    make(home / "ComfyUI", "custom_nodes/", "models/loras/", "models/checkpoints/")
    make(home / "ai" / "webui", "webui.py", "models/Lora/", "models/LyCORIS/")
    make(home / "ai" / "webui", "extensions/sd-webui-additional-networks/models/lora/")
    make(home / "ai" / "forge", "webui.py", "modules_forge/", "models/Lora/")
    make(home / "ai" / "sdnext", "webui.py", "installer.py", "models/Lora/")
    make(home / "invokeai", "invokeai.yaml", "models/", "autoimport/lora/")
    make(home / "SwarmUI", "SwarmUI.sln", "Models/Lora/")
    make(home / "sm" / "Data", "settings.json", "Packages/", "Models/Lora/", "Models/LyCORIS/")
    make(home / "sm" / "Data" / "Packages" / "ComfyUI", "custom_nodes/", "models/loras/")
    write_adapter(home / "ComfyUI" / "models" / "loras" / "style" / "ink.safetensors")
    assert {
        path.removeprefix(f"{home}/"): one for path, one in proposed(catalog, home).items()
    } == {
        "ComfyUI/models/loras": "ComfyUI",
        "ai/forge/models/Lora": "Forge",
        "ai/sdnext/models/Lora": "SD.Next",
        "ai/webui/extensions/sd-webui-additional-networks/models/lora": "A1111",
        "ai/webui/models/Lora": "A1111",
        "ai/webui/models/LyCORIS": "A1111",
        "invokeai/autoimport/lora": "InvokeAI",
        "invokeai/models": "InvokeAI",
        "SwarmUI/Models/Lora": "SwarmUI",
        "sm/Data/Models/Lora": "Stability Matrix",
        "sm/Data/Models/LyCORIS": "Stability Matrix",
        "sm/Data/Packages/ComfyUI/models/loras": "ComfyUI",
    }
    assert catalog.discover([home]).proposals[0].files == 1
    assert catalog.adapters() == []


def test_settings_that_name_other_folders(
    catalog: Catalog, tmp_path: Path, configuration: Path
) -> None:
    home, disk = tmp_path / "user", tmp_path / "disk"
    for name in ("a", "b", "c", "d", "e/Lora", "f", "sm/Models/Lora", "sm/Packages"):
        (disk / name).mkdir(parents=True)
    make(home / "ComfyUI", "custom_nodes/", "models/")
    (home / "ComfyUI" / "extra_model_paths.yaml").write_text(
        f"a111:\n  base_path: {disk}\n  is_default: true\n  loras: |\n    a\n    b\n    gone\n"
        "other: 3\nbroken:\n  loras: [1]\n"
    )
    (configuration / "ComfyUI").mkdir(parents=True)
    (configuration / "ComfyUI" / "extra_models_config.yaml").write_text(
        f"desktop:\n  loras: {disk}/c\n"
    )
    (configuration / "StabilityMatrix").mkdir()
    (configuration / "StabilityMatrix" / "library.json").write_text(
        json.dumps({"LibraryPath": str(disk / "sm")})
    )
    make(home / "webui", "webui.py", "models/")
    (home / "webui" / "webui-user.sh").write_text(
        f'export COMMANDLINE_ARGS="--xformers --lora-dir {disk}/d --api"\n'
    )
    make(home / "SwarmUI", "Data/")
    (home / "SwarmUI" / "Data" / "Settings.fds").write_text(
        f"Paths:\n\tModelRoot: Models;{disk}/e\n\tSDLoraFolder: Lora;{disk}/f\n"
    )
    assert {path.removeprefix(f"{disk}/") for path in proposed(catalog, home)} == {
        *"abcdf",
        "e/Lora",
        "sm/Models/Lora",
    }


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "a: *x", "\x00", "a: {loras: 5}", "é" * 9])
def test_strange_settings_propose_nothing(catalog: Catalog, tmp_path: Path, text: str) -> None:
    make(tmp_path / "user", "webui.py", "models/", "Data/")
    for name in ("extra_model_paths.yaml", "webui-user.sh", "config.json", "Data/Settings.fds"):
        (tmp_path / "user" / name).write_text(text, encoding="latin-1")
    assert proposed(catalog, tmp_path / "user") == {}


def test_the_search_has_bounds(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    make(tmp_path / "elsewhere" / "ComfyUI", "custom_nodes/", "models/loras/")
    make(home / "1/2/3/4" / "ComfyUI", "custom_nodes/", "models/loras/")
    make(home / ".hidden" / "ComfyUI", "custom_nodes/", "models/loras/")
    (home / "link").symlink_to(tmp_path / "elsewhere")
    (home / "loop").symlink_to(home)
    assert proposed(catalog, home) == {}
    assert len(proposed(catalog, tmp_path / "elsewhere")) == 1
    monkeypatch.setattr(discovering, "_MOST_FOLDERS", 2)
    assert not catalog.discover([home]).complete


def test_known_folders_are_said_to_be_known(catalog: Catalog, tmp_path: Path) -> None:
    loras = tmp_path / "user" / "ComfyUI" / "models" / "loras"
    make(tmp_path / "user" / "ComfyUI", "custom_nodes/", "models/loras/")
    write_adapter(loras / "ink.safetensors")
    (before,) = catalog.discover([tmp_path / "user"]).proposals
    catalog.remember_folders([loras.parent])
    (after,) = catalog.discover([tmp_path / "user"]).proposals
    assert (before.known, after.known) == (False, True)
