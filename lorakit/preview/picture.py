"""Saving a picture with what made it: A1111's `parameters` text and lorakit's own record."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit import __version__
from lorakit.errors import BadUsage, LorakitError
from lorakit.formats.infotext import Infotext, lora_hashes, lora_tag, write_infotext
from lorakit.formats.own_record import PICTURE
from lorakit.strengths.text import number

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorakit.preview.made_from import MadeFrom
    from lorakit.preview.settings import RenderSettings

CHUNK = "lorakit"
# Each of these can change a pixel.
_LIBRARIES = ("torch", "diffusers", "transformers")


def save_picture(
    image: Image, path: Path, settings: RenderSettings, made_from: MadeFrom, *, overwrite: bool
) -> None:
    """Write `image` as PNG, whole or not at all, with the record of how it was made.

    Raises `BadUsage` when `path` exists and `overwrite` is false, `LorakitError` when it cannot be
    written.
    """
    from PIL.PngImagePlugin import PngInfo

    check_target(path, overwrite=overwrite)
    info = PngInfo()
    info.add_itxt("parameters", infotext(settings, made_from))
    info.add_itxt(CHUNK, json.dumps(picture_record(settings, made_from), ensure_ascii=False))
    # A file of the usual mode, which those of `tempfile` are not.
    temporary = path.with_name(f".lorakit-{os.getpid()}.part")
    try:
        try:
            image.save(temporary, "png", pnginfo=info)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise `BadUsage` or `LorakitError` for a picture that could not be saved, before any work."""
    if path.is_dir():
        raise BadUsage(
            f"{path} is a folder.", hint=f"Name the picture in it, such as {path / 'out.png'}"
        )
    if path.suffix.lower() != ".png":
        raise BadUsage(f"Pictures are written as .png, and {path} does not end in that.")
    if not path.parent.is_dir():
        raise BadUsage(f"There is no folder {path.parent}.")
    if not os.access(path.parent, os.W_OK):
        raise LorakitError(f"The folder {path.parent} cannot be written to.")
    if path.exists() and not overwrite:
        raise BadUsage(f"{path} exists already.", hint="--overwrite replaces it.")


def picture_record(settings: RenderSettings, made_from: MadeFrom) -> dict[str, Any]:
    """What `lorakit preview --from` reads to make the picture again.

    Pictures get about, so it names files without their folders.
    """
    return {
        "schema": PICTURE,
        **made_from.to_dict(),
        "settings": {**settings.to_dict(), "image": _start_image(settings.image)},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of everything that can change a pixel, by package; what is absent is left out."""
    found = {"lorakit": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def infotext(settings: RenderSettings, made_from: MadeFrom) -> str:
    """The text that A1111 and its relatives read.

    Adapters stand as tags with one number each, and under `Lora hashes` with A1111's short hash: the
    first 12 digits of the SHA-256 of the tensors.
    """
    entries = made_from.entries
    values = {
        "Steps": str(settings.steps),
        "Sampler": "Euler",
        "Schedule type": "Simple",
        "CFG scale": number(settings.cfg),
        "Seed": str(settings.seed),
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": (made_from.base_sha256 or "")[:10],
        "Model": made_from.base,
        "Denoising strength": "" if settings.image is None else number(settings.denoise),
        "Shift": number(settings.shift),
        "Lora hashes": lora_hashes((entry.name, entry.tensor_sha256[:12]) for entry in entries),
        "Version": f"lorakit {__version__}",
    }
    tags = [lora_tag(entry.name, number(entry.strength.headline)) for entry in entries]
    info = Infotext(
        settings.prompt,
        settings.negative_prompt,
        {key: value for key, value in values.items() if value},
    )
    return write_infotext(info, tags)


def _start_image(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
