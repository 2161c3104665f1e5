"""Showing a picture in the terminal, through the package textual-image where it is installed.

It asks the terminal what it can: Kitty's graphics protocol, Sixel (which iTerm2 has too), or else coloured
half blocks.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

# Enough to judge by, and several still fit on a page.
_ROWS = 20


def why_not_shown() -> str | None:
    """Why no picture can be shown here; None where one can."""
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return "the output is no terminal"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return "the terminal is set to show no colours"
    if not find_spec("textual_image"):
        return "the package textual-image is not installed"
    return None


def show_file(path: Path) -> None:
    """Show the picture at `path` as `show_picture` does. Raises `LorakitError` for what is none, too."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            show_picture(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise LorakitError(f"{path} cannot be shown: {error}.") from error


def show_picture(image: Image) -> None:
    """Show `image` on standard output, where `why_not_shown` has nothing against it.

    Raises `LorakitError` for a terminal in which it fails.
    """
    import logging

    from rich.console import Console

    # It logs each question that a terminal does not answer.
    logging.getLogger("textual_image").setLevel(logging.ERROR)
    console = Console()
    # A cell is about twice as high as it is wide; the height follows from the cells as they are.
    columns = min(round(2 * _ROWS * image.width / image.height), console.width)
    try:
        # The import asks the terminal what it can, once.
        from textual_image.renderable import Image as Renderable

        console.print(Renderable(image, width=max(columns, 1), height="auto"))
    # Terminals answer in many ways, and a picture that is saved must not fail for being shown.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise LorakitError(f"The terminal cannot show the picture: {reason}.") from error
