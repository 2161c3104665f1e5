"""Reading from a picture how it was made: lorakit's own record, or that of another program."""

from __future__ import annotations

import json
from pathlib import Path

from lorakit.errors import BadFile, NotFound
from lorakit.formats.generation import Generation
from lorakit.formats.own_record import own_generation
from lorakit.formats.png_text import is_png, read_png_text
from lorakit.formats.recipe_files import texts_generation
from lorakit.preview.picture import CHUNK

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
    found = _own(texts.get(CHUNK), path) or texts_generation(texts)
    if found is None:
        raise BadFile(
            f"{path} says nothing of how it was made.",
            hint="Sites and editors often remove it; use the file as it was first saved.",
        )
    return found


def _own(document: str | None, path: Path) -> Generation | None:
    """lorakit's own record; None for one that is older than its first schema, or damaged."""
    try:
        root = json.loads(document or "null")
    except (ValueError, RecursionError):
        return None
    return own_generation(root, str(path))


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
