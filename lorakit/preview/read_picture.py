"""Reading from a picture how it was made: lorakit's own record, or that of another program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lorakit.errors import BadFile, NotFound
from lorakit.formats.a1111 import a1111_generation, completed_by
from lorakit.formats.comfyui import comfy_generation
from lorakit.formats.generation import (
    Generation,
    StartImage,
    UsedAdapter,
    hex_hashes,
    real,
    text,
    whole,
)
from lorakit.formats.infotext import read_infotext
from lorakit.formats.other_records import invoke_generation, swarm_generation
from lorakit.formats.png_text import is_png, read_png_text
from lorakit.preview.picture import CHUNK, SCHEMA

_USER_COMMENT, _EXIF_IFD = 0x9286, 0x8769
_ENCODINGS = {b"ASCII\0\0\0": "latin-1", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}


def read_generation(path: Path) -> Generation:
    """How the picture at `path` was made.

    PNG texts of lorakit, A1111, Forge, ComfyUI, LoRA Manager, SwarmUI and InvokeAI are known, and what
    these write into the EXIF comment of JPEG and WebP.

    Raises:
        NotFound: there is no such file.
        BadFile: it is no picture, says nothing, or was written by a newer lorakit.
    """
    if not path.is_file():
        raise NotFound(f"There is no picture {path}.")
    texts = read_png_text(path) if is_png(path) else {"parameters": _user_comment(path)}
    found = _own(texts.get(CHUNK), path) or _foreign(texts)
    if found is None:
        raise BadFile(
            f"{path} says nothing of how it was made.",
            hint="Sites and editors often remove it; use the file as it was first saved.",
        )
    return found


def _foreign(texts: dict[str, str]) -> Generation | None:
    parameters = texts.get("parameters", "")
    graph = comfy_generation(texts.get("prompt") or parameters, texts.get("workflow"))
    found = swarm_generation(parameters) or invoke_generation(texts.get("invokeai_metadata", ""))
    if found is not None:
        return found
    if read_infotext(parameters).settings:
        # ComfyUI's savers leave to the graph what their text does not say.
        stated = a1111_generation(parameters)
        return stated if graph is None else completed_by(stated, graph)
    return graph


def _own(document: str | None, path: Path) -> Generation | None:
    """lorakit's own record; None for one that is older than its first schema, or damaged."""
    try:
        root = json.loads(document or "null")
    except (ValueError, RecursionError):
        return None
    schema = root.get("schema") if isinstance(root, dict) else None
    if isinstance(schema, str) and schema != SCHEMA:
        raise BadFile(
            f"{path} was made by another version of lorakit: its record is {schema[:40]}, and this "
            f"one reads {SCHEMA}.",
            hint="Update lorakit: pip install --upgrade lorakit",
        )
    return _own_generation(root) if schema == SCHEMA else None


def _own_generation(root: dict[str, Any]) -> Generation:
    settings, base = _table(root.get("settings")), _table(root.get("base"))
    start = _table(settings.get("image"))
    places = {key: text(root.get(key)) for key in ("device", "dtype")}
    saving = ", ".join(map(text, _rows(root.get("saving"))))
    if isinstance(root.get("compiled"), bool):
        places["compiled"] = "yes" if root["compiled"] else "no"
    versions = {key: text(value) for key, value in _table(root.get("versions")).items()}
    return Generation(
        program="lorakit",
        prompt=text(settings.get("prompt")),
        negative_prompt=text(settings.get("negative_prompt")),
        steps=whole(settings.get("steps")),
        cfg=real(settings.get("cfg")),
        seed=whole(settings.get("seed")),
        width=whole(settings.get("width")),
        height=whole(settings.get("height")),
        shift=real(settings.get("shift")),
        denoise=real(settings.get("denoise")) if start else None,
        base_name=text(base.get("name")),
        base_hash=next(iter(hex_hashes(base.get("sha256"))), ""),
        adapters=tuple(_own_adapter(_table(entry)) for entry in _rows(root.get("entries"))),
        start_image=_start_image(start),
        environment={**versions, **places, "saving": saving},
    )


def _own_adapter(entry: dict[str, Any]) -> UsedAdapter:
    return UsedAdapter(
        text(entry.get("name")),
        hex_hashes(entry.get("sha256"), entry.get("tensor_sha256")),
        strength=text(entry.get("strength_text")) or None,
    )


def _start_image(start: dict[str, Any]) -> StartImage | None:
    # The name only: a folder in it would be another machine's.
    name = Path(text(start.get("name"))).name
    return StartImage(name, next(iter(hex_hashes(start.get("sha256"))), None)) if name else None


def _user_comment(path: Path) -> str:
    """The EXIF comment of a JPEG or WebP. Raises `BadFile` for what is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    # Pillow raises errors of many kinds at a damaged file, by format.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadFile(f"{path} is no picture that can be read.") from error
    if isinstance(comment, str):
        return comment
    data = bytes(comment) if isinstance(comment, bytes | bytearray) else b""
    encoding = _ENCODINGS.get(data[:8])
    return _decoded(data[8:], encoding) if encoding else _decoded(data, "utf-8")


def _decoded(data: bytes, encoding: str) -> str:
    if encoding == "utf-16":
        # Writers do not agree on the order of bytes; Latin letters tell it.
        big = data[::2].count(0) > data[1::2].count(0)
        encoding = (
            "utf-16"
            if data[:2] in (b"\xff\xfe", b"\xfe\xff")
            else "utf-16-be"
            if big
            else "utf-16-le"
        )
    return data.decode(encoding, "replace").rstrip("\0")


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
