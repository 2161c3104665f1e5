"""Make the README's pictures from a finished demo: `python docs/images/make_images.py lorakit-demo`.

grid-sheet.png is the demo's own grid; terminal.svg shows what the commands print in a terminal.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COMMANDS = (
    ("inspect", "ink"),
    ("stack", "ink:0.8 mosaic:0.5", "--base", "rdbt-demo"),
)
WIDTH = 80
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main(demo: Path) -> None:
    """Write both pictures beside this file."""
    shutil.copyfile(demo / "grid" / "sheet.png", HERE / "grid-sheet.png")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for words in COMMANDS:
        shown = " ".join(f'"{word}"' if " " in word else word for word in words)
        console.print(Text(f"$ lorakit {shown}", style="bold"))
        console.print(Text.from_ansi(run(demo, words)))
        console.print()
    svg = console.export_svg(title="lorakit", unique_id="lorakit")
    (HERE / "terminal.svg").write_text(with_local_fonts(svg), encoding="utf-8")


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
