"""Where the settings of other programs say that adapters lie. Nothing here raises for a strange file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LORA_DIR = re.compile(r"""--lora-dir[= ]+(?:"([^"\n]+)"|'([^'\n]+)'|(\S+))""")
_MAX_BYTES = 1_000_000


def comfyui_paths(file: Path) -> Iterator[Path]:
    """The folders under `loras` in ComfyUI's `extra_model_paths.yaml`.

    Each section may have a `base_path`, and several folders a line each; relative ones lie below it, or
    else beside the file (folder_paths.py and utils/extra_config.py of ComfyUI).
    """
    import yaml

    try:
        document = yaml.safe_load(_text(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return
    for section in document.values() if isinstance(document, Mapping) else ():
        if not isinstance(section, Mapping):
            continue
        base = section.get("base_path")
        below = file.parent / _expanded(base) if isinstance(base, str) else file.parent
        listed = section.get("loras")
        for line in listed.splitlines() if isinstance(listed, str) else ():
            if line.strip():
                yield below / _expanded(line)


def webui_paths(folder: Path) -> Iterator[Path]:
    """The folders that A1111, Forge and SD.Next were told of: `--lora-dir`, and SD.Next's `lora_dir`."""
    for name in ("webui-user.sh", "webui-user.bat"):
        try:
            found = _LORA_DIR.search(_text(folder / name))
        except (OSError, ValueError):
            continue
        if found:
            yield folder / _expanded(next(filter(None, found.groups())))
    told = _json(folder / "config.json").get("lora_dir")
    if isinstance(told, str) and told.strip():
        yield folder / _expanded(told)


def swarmui_paths(folder: Path) -> Iterator[Path]:
    """The folders in SwarmUI's `Data/Settings.fds`: every `SDLoraFolder` below every `ModelRoot`."""
    settings: dict[str, list[str]] = {}
    try:
        lines = _text(folder / "Data" / "Settings.fds").splitlines()
    except (OSError, ValueError):
        lines = []
    for line in lines:
        key, _, value = line.strip().partition(":")
        settings[key] = [one.strip() for one in value.split(";") if one.strip()]
    for root in settings.get("ModelRoot") or ["Models"]:
        for own in settings.get("SDLoraFolder") or ["Lora"]:
            yield folder / _expanded(root) / _expanded(own)


def stability_matrix_library(file: Path) -> Iterator[Path]:
    """The data folder that Stability Matrix's `library.json` names."""
    told = _json(file).get("LibraryPath")
    if isinstance(told, str) and told.strip():
        yield file.parent / _expanded(told)


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES).decode("utf-8-sig")


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _expanded(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text.strip()))  # noqa: PTH111 (never raises)
