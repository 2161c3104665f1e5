"""The page that shows a demo's steps and pictures, self-contained."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lorakit import __version__


def write_demo_page(
    path: Path,
    *,
    pictures: Sequence[tuple[str, Path]],
    sheet: Path,
    steps: Sequence[tuple[str, str, str, int]],
) -> None:
    """Write one HTML file with `pictures` (label, PNG), the PNG of a grid's `sheet`, and `steps`.

    A step is a title, a command, its output and its exit code.

    Pictures are embedded, so the file can be moved or sent on its own.
    """
    environment = Environment(
        loader=PackageLoader("lorakit.report"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("demo.html.j2").render(
        version=__version__,
        pictures=[(label, data_url(picture)) for label, picture in pictures],
        sheet=data_url(sheet),
        steps=steps,
    )
    path.write_text(page, encoding="utf-8")


def data_url(picture: Path) -> str:
    """A PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
