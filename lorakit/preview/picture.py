"""Saving a picture with what made it: A1111's `parameters` text and lorakit's own record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from lorakit import __version__
from lorakit.errors import BadUsage, LorakitError
from lorakit.preview.settings import RenderSettings

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = "lorakit"


def save_picture(
    image: Image,
    path: Path,
    settings: RenderSettings,
    made_from: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write `image` as PNG, whole or not at all.

    `made_from` (base, stack) goes into the `lorakit` text chunk as JSON beside the settings. Raises
    `BadUsage` when `path` exists and `overwrite` is false, `LorakitError` when it cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    check_target(path, overwrite=overwrite)
    info = PngInfo()
    info.add_itxt("parameters", infotext(settings, made_from))
    record = {"version": __version__, **made_from, "settings": vars(settings)}
    info.add_itxt(CHUNK, json.dumps(record, ensure_ascii=False))
    try:
        with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            try:
                image.save(file, "png", pnginfo=info)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise `BadUsage` for a picture that could not be saved, before anything is computed."""
    if path.suffix.lower() != ".png":
        raise BadUsage(f"Pictures are written as .png, and {path} does not end in that.")
    if not path.parent.is_dir():
        raise BadUsage(f"There is no folder {path.parent}.")
    if path.exists() and not overwrite:
        raise BadUsage(f"{path} exists already.", hint="--force overwrites it.")


def infotext(settings: RenderSettings, made_from: Mapping[str, Any]) -> str:
    """The text that A1111 and its relatives read: prompt, negative prompt, one line of settings."""
    tags = " ".join(f"<lora:{e['name']}:{e['strength']:g}>" for e in made_from.get("entries", ()))
    lines = [" ".join(filter(None, (settings.prompt, tags)))]
    if settings.negative_prompt:
        lines.append(f"Negative prompt: {settings.negative_prompt}")
    lines.append(
        f"Steps: {settings.steps}, Sampler: Euler, CFG scale: {settings.cfg:g}, Seed: {settings.seed}, "
        f"Size: {settings.width}x{settings.height}, Model: {_value(str(made_from.get('base', '')))}, "
        f"Version: lorakit {__version__}"
    )
    return "\n".join(lines)


def _value(text: str) -> str:
    """A1111 quotes a value that holds its own separators."""
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text
