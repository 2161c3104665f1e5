"""A picture that a file's own header holds: ModelSpec's thumbnail, or a cover of the A1111 extension for
additional networks (`ssmd_cover_images`)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# The first bytes of what browsers show and Pillow reads.
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
# Far above any cover; a header may be a hundred times as long.
_MOST_TEXT = 16_000_000


@dataclass(frozen=True)
class EmbeddedCover:
    """The bytes of the picture, its kind by its own first bytes, and the key of the header it stood in."""

    content: bytes
    mime: str
    key: str

    def __str__(self) -> str:
        return f"in the header ({self.key}, {self.mime.removeprefix('image/')}, {len(self.content) // 1000} kB)"


def embedded_cover(metadata: Mapping[str, str]) -> EmbeddedCover | None:
    """The first picture in `metadata`; None where there is none, or what is there is no picture."""
    for key, text in _texts(metadata):
        encoded = text.partition(",")[2] if text.startswith("data:") else text
        try:
            content = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        kind = next((mime for start, mime in _KINDS if content.startswith(start)), None)
        if kind is not None and (kind != "image/webp" or content[8:12] == b"WEBP"):
            return EmbeddedCover(content, kind, key)
    return None


def _texts(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    thumbnail = metadata.get("modelspec.thumbnail", "").strip()
    if thumbnail.startswith("data:image/") and len(thumbnail) <= _MOST_TEXT:
        yield "modelspec.thumbnail", thumbnail
    covers = metadata.get("ssmd_cover_images", "")
    if covers.strip() and len(covers) <= _MOST_TEXT:
        try:
            listed = json.loads(covers)
        except (ValueError, RecursionError):
            return
        for cover in listed if isinstance(listed, list) else ():
            if isinstance(cover, str):
                yield "ssmd_cover_images", cover
