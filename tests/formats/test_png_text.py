"""The text chunks of PNG files, against Pillow, which writes and reads them too."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorakit.errors import BadFile
from lorakit.formats.png_text import MOST_BYTES, SIGNATURE, read_png_text


def is_clear(text: str) -> bool:
    """Whether `text` as Latin-1 is not UTF-8 of another text, which only `Â` and the like can be."""
    try:
        return text.encode("latin-1").decode() == text
    except UnicodeError:
        return True


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40).filter(is_clear)


def png(info: PngInfo) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "png", pnginfo=info)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes) -> bytes:
    plain = png(PngInfo())
    return plain[:33] + b"".join(chunks) + plain[33:]


@given(TEXTS, TEXTS, st.booleans())
def test_what_pillow_writes_is_read(tmp_path_factory, parameters, other, packed) -> None:
    info = PngInfo()
    # Pillow writes tEXt (or zTXt) for Latin-1 and iTXt for the rest.
    info.add_text("parameters", parameters, zip=packed)
    info.add_itxt("lorakit", other, zip=packed)
    path = tmp_path_factory.getbasetemp() / "written.png"
    path.write_bytes(png(info))
    assert read_png_text(path) == {"parameters": parameters, "lorakit": other}


def test_utf_8_in_a_latin_1_chunk_is_read_as_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(chunk(b"tEXt", b"prompt\0" + "墨 é".encode())))
    assert read_png_text(path) == {"prompt": "墨 é"}
    path.write_bytes(with_chunks(chunk(b"tEXt", b"prompt\0caf\xe9")))
    assert read_png_text(path) == {"prompt": "café"}


def test_a_chunk_that_unpacks_without_end_is_passed_over(tmp_path: Path) -> None:
    bomb = zlib.compress(b"a" * (MOST_BYTES + 1), 9)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        with_chunks(chunk(b"zTXt", b"prompt\0\0" + bomb), chunk(b"tEXt", b"parameters\0x"))
    )
    assert read_png_text(path) == {"parameters": "x"}


@pytest.mark.parametrize(
    "data",
    [b"nokeyword", b"\0text", b"k" * 80 + b"\0text", b"a\0\1\0\0\0not packed", b""],
    ids=["no end of keyword", "no keyword", "long keyword", "not packed", "empty"],
)
def test_a_damaged_chunk_hides_no_other(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(with_chunks(chunk(b"iTXt", data), chunk(b"tEXt", b"parameters\0x")))
    assert read_png_text(path)["parameters"] == "x"


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", SIGNATURE, SIGNATURE + b"\0\0\0", SIGNATURE + b"\xff\xff\xff\xfftEXtab"],
    ids=["empty", "another kind", "only the signature", "half a length", "longer than the file"],
)
def test_what_is_no_whole_png_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"broken\.png"):
        read_png_text(path)
    with pytest.raises(BadFile, match=r"none\.png"):
        read_png_text(tmp_path / "none.png")
