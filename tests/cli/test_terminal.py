"""Pictures in the terminal: what a terminal that can show them is sent."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

SHOW = (
    "from PIL import Image\n"
    "from lorakit.errors import LorakitError\n"
    "from lorakit.cli.terminal import show_picture, why_not_shown\n"
    "reason = why_not_shown()\n"
    "print('reason:', reason)\n"
    "try:\n"
    "    reason or show_picture(Image.new('RGB', (64, 64), (200, 30, 10)))\n"
    "except LorakitError as error:\n"
    "    print('failed:', error.message)\n"
)
# What a terminal answers: to `CSI c` what it can, Sixel being 4, and to Kitty's question OK.
Answer = Callable[[bytes], bytes]


def as_kitty(asked: bytes) -> bytes:
    question = re.search(rb"\x1b_Gi=(\d+)[^\x1b]*a=q[^\x1b]*\x1b\\", asked)
    # Both may be asked at once.
    shows = b"\x1b_Gi=" + question[1] + b";OK\x1b\\" if question else b""
    return shows + as_neither(asked)


def as_sixel(asked: bytes) -> bytes:
    return b"\x1b[?62;4;22c" if asked.endswith(b"\x1b[c") else b""


def as_neither(asked: bytes) -> bytes:
    return b"\x1b[?62;22c" if asked.endswith(b"\x1b[c") else b""


def shown(
    home: Path, answer: Answer, env: dict[str, str], size: tuple[int, ...] = (40, 80, 800, 800)
) -> bytes:
    """What a terminal that answers so is sent; `size` is in rows, columns, and pixels both ways."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
    command = [sys.executable, "-c", SHOW]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(home, env)
    ):
        os.close(theirs)
        found = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other side is closed.
                break
            if not piece:
                break
            found += piece
            if reply := answer(piece):
                os.write(ours, reply)
    os.close(ours)
    return found


TRUE_COLOUR = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def test_kitty_is_sent_the_picture_as_png(tmp_path: Path) -> None:
    from PIL import Image

    pytest.importorskip("textual_image")
    found = shown(tmp_path, as_kitty, TRUE_COLOUR)
    sent = re.findall(rb"\x1b_G([^;\x1b]*);([A-Za-z0-9+/=]*)\x1b\\", found)
    data = b"".join(payload for keys, payload in sent if b"f=100" in keys)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.format == "PNG"
        assert image.convert("RGB").getpixel((1, 1)) == (200, 30, 10)
    assert b"\x1bP" not in found


def test_a_sixel_terminal_is_sent_sixels(tmp_path: Path) -> None:
    pytest.importorskip("textual_image")
    found = shown(tmp_path, as_sixel, TRUE_COLOUR)
    picture = re.search(rb"\x1bP[\d;]*q.*?\x1b\\", found, re.DOTALL)
    assert picture
    # A palette entry: red 78 %, green 12 %, blue 4 % of 100.
    assert re.search(rb"#\d+;2;78;12;4", picture[0])
    assert b"f=100" not in found


def test_any_other_terminal_is_sent_half_blocks(tmp_path: Path) -> None:
    pytest.importorskip("textual_image")
    found = shown(tmp_path, as_neither, TRUE_COLOUR)
    assert "▀".encode() in found
    assert b"38;2;200;30;10" in found
    assert b"\x1bP" not in found


def test_a_terminal_that_answers_nothing_is_sent_half_blocks_and_no_complaint(
    tmp_path: Path,
) -> None:
    pytest.importorskip("textual_image")
    found = shown(tmp_path, lambda asked: b"", TRUE_COLOUR, (40, 80, 0, 0))
    assert "▀".encode() in found
    for word in (b"Traceback", b"Timeout", b"failed"):
        assert word not in found


def test_a_terminal_of_no_size_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("textual_image")
    found = shown(tmp_path, as_sixel, TRUE_COLOUR, (0, 0, 0, 0))
    assert b"failed: The terminal cannot show the picture" in found
    assert b"Traceback" not in found


@pytest.mark.parametrize(
    "env", [{**TRUE_COLOUR, "NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "TERM=dumb"]
)
def test_a_terminal_without_colours_is_not_even_asked(tmp_path: Path, env: dict[str, str]) -> None:
    found = shown(tmp_path, as_kitty, env)
    assert found == b"reason: the terminal is set to show no colours\r\n"


def test_a_pipe_is_sent_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=environment(tmp_path, TRUE_COLOUR),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"reason: the output is no terminal\n"
    assert done.stderr == b""
