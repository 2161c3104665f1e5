"""The text chunks of a PNG file: tEXt, zTXt and iTXt.

Written after the PNG specification (third edition), sections 11.3.3.2 to 11.3.3.4.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lorakit.errors import BadFile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A large ComfyUI workflow has a few megabytes. More is an attack on the memory.
MOST_BYTES = 32 * 2**20
_KINDS = (b"tEXt", b"zTXt", b"iTXt")


def is_png(path: Path) -> bool:
    """Whether the file begins as a PNG does. Raises `BadFile` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def read_png_text(path: Path) -> dict[str, str]:
    """The texts of the PNG at `path` by keyword; of two with one keyword the later.

    A chunk that cannot be read, or is larger than any real one, is passed over. Raises `BadFile` for a
    file that is no PNG, is cut off, or cannot be read.
    """
    found: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                raise BadFile(f"{path} is not a PNG file.")
            for kind, data in _text_chunks(file, path):
                entry = _decode(kind, data)
                if entry is not None:
                    found[entry[0]] = entry[1]
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    return found


def _text_chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bytes]]:
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise BadFile(f"{path} is cut off: it has no end.", hint="Copy or download it again.")
        (length,) = struct.unpack(">I", head[:4])
        kind = head[4:]
        if kind == b"IEND":
            return
        if kind in _KINDS and length <= MOST_BYTES:
            data = file.read(length)
            file.seek(4, 1)
            if len(data) == length:
                yield kind, data
        else:
            file.seek(length + 4, 1)


def _decode(kind: bytes, data: bytes) -> tuple[str, str] | None:
    keyword, _, rest = data.partition(b"\0")
    if not 1 <= len(keyword) <= 79:
        return None
    try:
        if kind == b"tEXt":
            return keyword.decode("latin-1"), _latin_1(rest)
        if kind == b"zTXt":
            return keyword.decode("latin-1"), _latin_1(_inflated(rest[1:]))
        packed, rest = rest[:1] == b"\1", rest[2:]
        _language, _, rest = rest.partition(b"\0")
        _translated, _, rest = rest.partition(b"\0")
        return keyword.decode("latin-1"), (_inflated(rest) if packed else rest).decode()
    except (UnicodeDecodeError, zlib.error):
        return None


def _latin_1(data: bytes) -> str:
    # The specification says Latin-1, but many programs write UTF-8; Latin-1 is hardly ever both.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _inflated(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(data, MOST_BYTES)
    if not unpacker.eof:
        raise zlib.error("cut off, or too large")
    return found
