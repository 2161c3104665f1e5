"""Make the documents' pictures from a finished demo: `python docs/images/make_images.py lorakit-demo`.

grid-sheet.png is the demo's own grid; terminal.svg shows what the commands print in a terminal; gallery.png
and check.png are the pages of `lorakit report` and `lorakit check` in Chromium, and are left as they are
where there is none.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMANDS = (
    ("inspect", "ink"),
    ("stack", "ink:0.8 mosaic:0.5", "--base", "rdbt-demo"),
)
CHECKED = ("ink:0.8", "wash:0.5", "neon:0.6", "mosaic:-0.3")
WIDTH = 80
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# In the order of the columns of the demo's grid, the first of which is the plain picture.
SAID = (
    ("ink", "5", "line art,bold"),
    ("wash", "5", "watercolour,pale"),
    ("neon", "4", "line art,night"),
    ("mosaic", "4", "pattern"),
)
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main(demo: Path) -> None:
    """Write the pictures beside this file."""
    shutil.copyfile(demo / "grid" / "sheet.png", HERE / "grid-sheet.png")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for words in COMMANDS:
        shown = " ".join(f'"{word}"' if " " in word else word for word in words)
        console.print(Text(f"$ lorakit {shown}", style="bold"))
        console.print(Text.from_ansi(run(demo, words)))
        console.print()
    svg = console.export_svg(title="lorakit", unique_id="lorakit")
    (HERE / "terminal.svg").write_text(with_local_fonts(svg), encoding="utf-8")
    if chromium := next(filter(None, map(shutil.which, BROWSERS)), None):
        show_gallery(chromium, demo, HERE / "gallery.png")
        show_check(chromium, demo, HERE / "check.png")


def show_gallery(chromium: str, demo: Path, picture: Path) -> None:
    """The demo's adapters as a gallery, with covers, tags and ratings, in a copy of its catalog."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(demo / "home", copy / "home")
        covers = copy / "home" / "covers"
        covers.mkdir(exist_ok=True)
        for column, (name, rating, tags) in enumerate(SAID, start=2):
            (found,) = json.loads(run(copy, ("inspect", name, "--json")))["adapters"]
            cover = covers / f"{found['hashes']['tensor_sha256']}.png"
            shutil.copyfile(demo / "grid" / "pictures" / f"row2-column{column}.png", cover)
            run(copy, ("tag", name, "--add", tags))
            run(copy, ("note", name, "--rating", rating))
        run(copy, ("report", "-o", str(copy / "page.html"), "--title", "Four styles"))
        photograph(chromium, copy / "page.html", picture, "1180,600")


def show_check(chromium: str, demo: Path, picture: Path) -> None:
    """The page of a stack of the demo's adapters."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        run(demo, ("check", *CHECKED, "--html", str(page)))
        photograph(chromium, page, picture, "1000,860")


def photograph(chromium: str, page: Path, picture: Path, size: str) -> None:
    """A page as a picture of 128 colours."""
    from PIL import Image

    shot = page.with_suffix(".png")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--screenshot={shot}", f"--window-size={size}"]
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True)
    with Image.open(shot) as image:
        image.convert("RGB").quantize(128).save(picture, optimize=True)


def run(demo: Path, words: tuple[str, ...]) -> str:
    """What a command prints to a terminal with colours."""
    environment = {
        **os.environ,
        "LORAKIT_HOME": str((demo / "home").absolute()),
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lorakit", *words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.rstrip()


def with_local_fonts(svg: str) -> str:
    """The picture without fonts from the network: nothing is fetched when it is shown."""
    svg = re.sub(r"\s*@font-face \{[^}]*\}", "", svg)
    return re.sub(r"font-family: (Fira Code, monospace|arial);", f"font-family: {FONT};", svg)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "lorakit-demo"))
