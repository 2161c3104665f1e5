"""What a recipe tells others: a base, adapters with strengths, and settings; never a weight."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorakit import __version__
from lorakit.bases import ChosenBase
from lorakit.formats import anima
from lorakit.formats.hashing import FileHashes, hash_file, hash_model
from lorakit.formats.header import read_header
from lorakit.formats.own_record import RECIPE
from lorakit.stack import Entry, ResolvedEntry, Stack
from lorakit.strengths import Strength


@dataclass(frozen=True)
class SharedBase:
    """The base: its name here, its file, and the SHA-256 of the file and of its tensors, "" if unknown."""

    name: str
    path: Path
    sha256: str
    tensor_sha256: str = ""


@dataclass(frozen=True)
class SharedEntry:
    """An adapter with its strength and both hashes.

    `by_path` says that it was named by the path of its file, not found in a catalog. `modules` are the
    canonical names of what it changes, `model_blocks` how many blocks the model has that it was made for.
    """

    name: str
    path: Path
    strength: Strength
    sha256: str
    tensor_sha256: str
    modules: tuple[str, ...]
    model_blocks: int | None
    by_path: bool = False

    @property
    def has_text_encoder(self) -> bool:
        """Whether it changes the text encoder."""
        return any(anima.component_of(name) == "text_encoder" for name in self.modules)


@dataclass(frozen=True)
class Settings:
    """One picture's settings. Sizes are pixels; CFG 1 means no guidance."""

    prompt: str = ""
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 20
    cfg: float = 1.0
    seed: int = 0
    shift: float = 3.0


@dataclass(frozen=True)
class SharedStack:
    """What is shared. `settings` is None where only the stack is meant."""

    base: SharedBase
    entries: tuple[SharedEntry, ...]
    settings: Settings | None = None

    @property
    def stack(self) -> Stack:
        """The stack, by the names of its adapters."""
        return Stack(tuple(Entry(entry.name, entry.strength) for entry in self.entries))


@dataclass(frozen=True)
class Plain:
    """The two numbers that other programs know: for the model and for the text encoder.

    `exact` says that they are the whole strength, for every module that the adapter changes.
    """

    model: float
    clip: float
    exact: bool


def share(
    base: ChosenBase, entries: Iterable[ResolvedEntry], settings: Settings | None = None
) -> SharedStack:
    """Take down a stack, with the hashes of the adapters' files as they are now.

    A registered base has the hashes of its registration; another is hashed, which takes seconds a
    gigabyte. Raises `BadFile` for a file that cannot be read.
    """
    if base.sha256 is None:
        hashes = hash_model(base.path).whole
        shared = SharedBase(base.name, base.path, hashes.file_sha256, hashes.tensor_sha256)
    else:
        shared = SharedBase(base.name, base.path, base.sha256, base.content or "")
    return SharedStack(shared, tuple(map(_share_entry, entries)), settings)


def plain_strength(entry: SharedEntry) -> Plain:
    """The numbers that come nearest to the entry's strength.

    Where all modules of a part have one strength, that is its number, else the base times the factor of
    the transformer or of the text encoder. Raises `BadUsage` for a vector that is for another model.
    """
    strength = entry.strength
    blocks = entry.model_blocks or 28
    found: dict[bool, set[float]] = {False: set(), True: set()}
    for name in entry.modules:
        is_clip = anima.component_of(name) == "text_encoder"
        found[is_clip].add(strength.for_module(name, blocks))
    clip_factor = dict(strength.components).get("text_encoder", 1.0)
    model, clip = (
        next(iter(values)) if len(values) == 1 else usual
        for values, usual in (
            (found[False], strength.headline),
            (found[True], strength.base * clip_factor),
        )
    )
    one_each = all(len(values) <= 1 for values in found.values())
    return Plain(model, clip, one_each and not strength.is_scheduled)


def weighted_words(settings: Settings, program: str, brackets: str) -> list[str]:
    """A sentence where the prompt holds `brackets` that `program` takes for weights, which lorakit does not."""
    text = settings.prompt + settings.negative_prompt
    if not re.search(rf"(?<!\\)[{re.escape(brackets)}]", text):
        return []
    return [
        f"{program} takes brackets in a prompt for weights, and lorakit takes them as they are: put a "
        "backslash before one that is meant."
    ]


def record(shared: SharedStack) -> dict[str, Any]:
    """lorakit's own record of `shared`, as JSON takes it; `own_generation` reads it back."""
    found: dict[str, Any] = {
        "schema": RECIPE,
        "program": f"lorakit {__version__}",
        "base": {
            "name": shared.base.name,
            "file": shared.base.path.name,
            "sha256": shared.base.sha256,
            "tensor_sha256": shared.base.tensor_sha256,
        },
        "stack": str(shared.stack),
        "entries": [entry_record(entry) for entry in shared.entries],
    }
    return found if shared.settings is None else {**found, "settings": asdict(shared.settings)}


def entry_record(entry: SharedEntry) -> dict[str, Any]:
    """One adapter of `record`."""
    return {
        "name": entry.name,
        "file": entry.path.name,
        "strength": plain_strength(entry).model,
        "strength_text": str(entry.strength),
        "sha256": entry.sha256,
        "tensor_sha256": entry.tensor_sha256,
    }


def _share_entry(entry: ResolvedEntry) -> SharedEntry:
    hashes = _hashes(entry.path)
    return SharedEntry(
        entry.name,
        entry.path,
        entry.strength,
        hashes.file_sha256,
        hashes.tensor_sha256,
        tuple(module.name for module in entry.report.modules),
        entry.report.model_blocks,
        by_path=entry.sha256 is None,
    )


def _hashes(path: Path) -> FileHashes:
    return hash_file(path, read_header(path).data_offset)
