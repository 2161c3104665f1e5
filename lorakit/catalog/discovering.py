"""Finding the folders in which other programs keep adapters: looked for, never added unasked.

The search goes a few folders deep, enters no links and no other drives, and ends after so many folders.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorakit.catalog.paths import SUFFIXES, absolute
from lorakit.catalog.program_settings import (
    comfyui_paths,
    stability_matrix_library,
    swarmui_paths,
    webui_paths,
)
from lorakit.catalog.remembered import outermost

_DEPTH = 4
_MOST_FOLDERS = 5_000
_MOST_FILES = 100_000
# A folder with more entries than this holds data, not programs.
_MOST_ENTRIES = 2_000
_LEFT_OUT = {"__pycache__", "node_modules", "proc", "site-packages", "snap", "sys", "venv"}
_EXTRA = ("extra_model_paths.yaml", "extra_models_config.yaml")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A folder that may be added: whose it is, how many adapter files it has, and whether it is known."""

    folder: Path
    program: str
    files: int
    known: bool


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found; `complete` is false where the search ended before it had seen everything."""

    proposals: tuple[Proposal, ...]
    complete: bool


def discover(roots: Sequence[Path], known: Sequence[str]) -> Discovery:
    """The folders of adapters below `roots`; `known` are those that are scanned already."""
    search = _Search()
    found: dict[str, tuple[Path, str]] = {}
    for root in [*roots, *_configured()]:
        for program, folder in search.below(Path(absolute(root))):
            if folder.is_dir():
                found.setdefault(os.path.realpath(folder), (Path(absolute(folder)), program))
    proposals = (
        Proposal(folder, program, _count(folder), _is_known(str(folder), known))
        for folder, program in sorted(found.values())
    )
    return Discovery(tuple(proposals), search.complete)


class _Search:
    """A walk that counts the folders it enters."""

    def __init__(self) -> None:
        self.complete = True
        self._entered = 0

    def below(self, root: Path) -> Iterator[tuple[str, Path]]:
        """Program and folder, for every program that is met below `root`."""
        device = _device(root)
        waiting = deque([(root, 0)])
        while waiting:
            folder, depth = waiting.popleft()
            if self._entered >= _MOST_FOLDERS:
                self.complete = False
                return
            self._entered += 1
            names, inner = _entries(folder)
            met = list(_programs(folder, names))
            yield from met
            # What lies in a program's own folder is its own; Stability Matrix has others in it.
            if (met and "Packages" not in names) or depth == _DEPTH or len(names) > _MOST_ENTRIES:
                continue
            waiting.extend((one, depth + 1) for one in inner if _device(one) == device)


def _programs(folder: Path, names: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The folders of adapters of the program that `folder` is, by the names in it."""
    for name in _EXTRA:
        if name in names:
            yield from (("ComfyUI", path) for path in comfyui_paths(folder / name))
    if {"models", "custom_nodes"} <= names:
        yield "ComfyUI", folder / "models" / "loras"
    if {"models", "webui.py"} <= names:
        own = ("SD.Next", "installer.py"), ("Forge", "modules_forge")
        program = next((one for one, mark in own if mark in names), "A1111")
        yield program, folder / "models" / "Lora"
        yield program, folder / "models" / "LyCORIS"
        networks = folder / "extensions" / "sd-webui-additional-networks"
        yield program, networks / "models" / "lora"
        yield from ((program, path) for path in webui_paths(folder))
    if "invokeai.yaml" in names or (folder / "databases" / "invokeai.db").is_file():
        yield "InvokeAI", folder / "models"
        yield "InvokeAI", folder / "autoimport" / "lora"
    if "SwarmUI.sln" in names or (folder / "Data" / "Settings.fds").is_file():
        yield from (("SwarmUI", path) for path in swarmui_paths(folder))
    if {"Models", "Packages"} <= names or {"Models", "settings.json"} <= names:
        yield "Stability Matrix", folder / "Models" / "Lora"
        yield "Stability Matrix", folder / "Models" / "LyCORIS"


def _configured() -> Iterator[Path]:
    """Folders that desktop programs keep their settings in, and what these name."""
    import platformdirs

    comfyui = platformdirs.user_config_path("ComfyUI", appauthor=False, roaming=True)
    if comfyui.is_dir():
        yield comfyui
    matrix = platformdirs.user_config_path("StabilityMatrix", appauthor=False, roaming=True)
    yield from stability_matrix_library(matrix / "library.json")


def _entries(folder: Path) -> tuple[frozenset[str], list[Path]]:
    """The names in a folder, and the folders to enter, sorted."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return frozenset(), []
    inner = [Path(entry.path) for entry in entries if _is_entered(entry)]
    return frozenset(entry.name for entry in entries), inner


def _is_entered(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in _LEFT_OUT:
        return False
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _count(folder: Path) -> int:
    """How many adapter files lie in a folder and below, as far as a search goes."""
    seen = count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(name.lower().endswith(SUFFIXES) for name in files)
        seen += len(files) + len(folders)
        if seen > _MOST_FILES:
            break
    return count


def _is_known(folder: str, known: Sequence[str]) -> bool:
    return folder in known or folder not in outermost([*known, folder])
