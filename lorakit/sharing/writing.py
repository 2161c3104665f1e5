"""Writing recipes: which kinds there are, and a file that replaces nothing unasked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.sharing.a1111 import a1111_text
from lorakit.sharing.comfyui import comfyui_text
from lorakit.sharing.lora_manager import SUFFIX as MANAGER_SUFFIX
from lorakit.sharing.lora_manager import lora_manager_text
from lorakit.sharing.shared import SharedStack
from lorakit.sharing.stack_file import stack_file_text


class RecipeKind(StrEnum):
    """What a recipe is written for."""

    STACK = "stack"
    COMFYUI = "comfyui"
    COMFYUI_API = "comfyui-api"
    A1111 = "a1111"
    LORA_MANAGER = "lora-manager"

    @property
    def suffix(self) -> str:
        """What its file's name ends in."""
        return _SUFFIXES[self]


_SUFFIXES = {
    RecipeKind.STACK: ".toml",
    RecipeKind.COMFYUI: ".json",
    RecipeKind.COMFYUI_API: ".json",
    RecipeKind.A1111: ".txt",
    RecipeKind.LORA_MANAGER: MANAGER_SUFFIX,
}


@dataclass(frozen=True)
class RecipeText:
    """A recipe, and sentences on what its program does not make of it."""

    text: str
    lost: tuple[str, ...] = ()


def recipe_text(kind: RecipeKind, shared: SharedStack, target: Path, now: float) -> RecipeText:
    """The recipe of `kind` for the file `target`, written at `now` (seconds since 1970)."""
    if kind is RecipeKind.STACK:
        return RecipeText(stack_file_text(shared, target.parent))
    if kind is RecipeKind.LORA_MANAGER:
        text, lost = lora_manager_text(shared, target.name.removesuffix(MANAGER_SUFFIX), now)
    elif kind is RecipeKind.A1111:
        text, lost = a1111_text(shared)
    else:
        text, lost = comfyui_text(shared, api=kind is RecipeKind.COMFYUI_API)
    return RecipeText(text, tuple(lost))


def check_target(path: Path, kind: RecipeKind, *, overwrite: bool, flag: str) -> None:
    """Raise for a file that `write_recipe` could not write: `BadUsage`, or `NotFound` for its folder.

    `flag` is the option that overwrites, for the hint.
    """
    if not path.name.endswith(kind.suffix) or path.name == kind.suffix:
        raise BadUsage(
            f"A recipe for {kind} ends in {kind.suffix}, and {path} does not."
            if kind is not RecipeKind.STACK
            else f"A stack file ends in .toml, and {path} does not."
        )
    if not path.parent.is_dir():
        raise NotFound(f"There is no folder {path.parent} for {path.name}.")
    if path.is_dir():
        raise BadUsage(f"{path} is a folder.")
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise BadUsage(f"{path} exists already.", hint=f"{flag} overwrites it.")


def write_recipe(path: Path, kind: RecipeKind, text: str, *, overwrite: bool, flag: str) -> None:
    """Write `text` to `path`, whole or not at all. Raises what `check_target` raises, and `LorakitError`."""
    check_target(path, kind, overwrite=overwrite, flag=flag)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise BadUsage("A name or a prompt is not valid text, so it cannot be saved.") from error
    part = path.with_name(f".lorakit-{secrets.token_hex(8)}.part")
    try:
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error
