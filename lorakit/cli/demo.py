"""`lorakit demo`: the whole path once, in a folder of its own, as a person would type it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lorakit.cli.output import write_line
from lorakit.errors import BadUsage, LorakitError
from lorakit.paths import expanded

EXAMPLE = "lorakit demo --dir my-demo"
MARKER = ".lorakit-demo"
_OURS = ("home", "models", "loras", "pictures", "grid", "demo.html")
_MADE = ("home", "models", "loras", "pictures")
STACK = "ink:0.8 mosaic:0.5"
PROMPT = "a large red star in the centre, cyan background"
RENDER = ("--size", "128x128", "--seed", "7", "--add-triggers")
SHEET = ("--x", "adapter=ink,wash,neon,mosaic", "--y", "strength=0.5,1")


@dataclass(frozen=True)
class Step:
    """One command of the demo, with what is said before it and what it printed."""

    title: str
    command: str
    output: str
    exit_code: int


def demo_verb(
    folder: Annotated[
        Path, typer.Option("--dir", help="Where to work; your own catalog is never touched.")
    ] = Path("lorakit-demo"),
) -> None:
    """Run the whole path on a small model: add, stack, preview, refuse."""
    from lorakit.cli.preview_plan import require_extra

    require_extra()
    folder = expanded(folder).absolute()
    prepare(folder)
    started = time.monotonic()
    write_line(f"The demo works in {folder}.")
    write_line("")
    write_line("A small model of Anima's architecture, trained on drawn shapes, plays the part")
    write_line("of RDBT; four small adapters each teach it a style. The real ones are a thousand")
    write_line("times larger, and are used in the same way.")
    _make_files(folder)
    steps = run_steps(folder)
    _finish(folder, steps)
    write_line("")
    write_line(f"Made in {time.monotonic() - started:.0f} seconds:")
    for path in ("pictures/sheet.png", "grid/sheet.png", "grid/index.html", "demo.html"):
        write_line(f"  {folder / path}")
    write_line("Open demo.html in a browser to see it all on one page.")


def prepare(folder: Path) -> None:
    """Make `folder`, or clear what an earlier demo left in it. Raises `BadUsage` for another's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LorakitError(f"{folder} cannot be made: {error.strerror or error}.") from error
    if any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise BadUsage(
            f"{folder} holds files that no demo made.", hint="Choose another folder with --dir."
        )
    (folder / MARKER).touch()
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in _MADE:
        (folder / name).mkdir()


def _make_files(folder: Path) -> None:
    from lorakit.preview.demo_model import write_demo_adapters, write_demo_model

    write_demo_model(folder / "models")
    write_demo_adapters(folder / "loras")


def run_steps(folder: Path) -> list[Step]:
    """Run every command of the tour in `folder`. Raises `LorakitError` when one goes wrong."""
    base = ("--base", "rdbt-demo")
    add = ("base", "add", "models/demo-rdbt.safetensors", "--name", "rdbt-demo", "--as", "rdbt")
    picture = ("-p", PROMPT, *base, *RENDER)
    tour: tuple[tuple[str, tuple[str, ...], int], ...] = (
        (
            "Register the model as a base, under RDBT's terms",
            (*add, "--components", "models/components"),
            0,
        ),
        ("Add a folder of adapters to the catalog", ("add", "loras"), 0),
        ("List them: four key layouts, two algorithms", ("ls",), 0),
        ("Look into one (LoRA, kohya's layout)", ("inspect", "ink"), 0),
        ("Another (LoKr, the layout of LyCORIS)", ("inspect", "mosaic"), 0),
        ("Plan a weighted stack: nothing is computed yet", ("stack", STACK, *base), 0),
        (
            "Render the base alone: CFG 1 and 20 steps are RDBT's recipe",
            ("preview", *picture, "-o", "pictures/plain.png"),
            0,
        ),
        (
            "Render the stack, fused in memory, from the same seed",
            ("preview", STACK, *picture, "-o", "pictures/stack.png"),
            0,
        ),
        (
            "Compare the styles at two strengths: every stack is fused once",
            ("grid", "ink", *SHEET, *picture, "-o", "grid"),
            0,
        ),
        (
            "Try to export the merged checkpoint: RDBT's licence forbids sharing it",
            ("export", STACK, *base, "-o", "merged.safetensors"),
            3,
        ),
    )
    return [_run(folder, title, words, wanted) for title, words, wanted in tour]


def _run(folder: Path, title: str, words: tuple[str, ...], wanted: int) -> Step:
    shown = shlex.join(("lorakit", *words))
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    write_line("")
    write_line(f"{bold}{title}{plain}")
    write_line(f"$ {shown}")
    done = subprocess.run(
        [sys.executable, "-m", "lorakit", *words],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    output = done.stdout.rstrip()
    write_line(output)
    if wanted:
        write_line(f"(exit code {done.returncode})")
    if done.returncode != wanted:
        raise LorakitError(
            f"The step `{shown}` ended with exit code {done.returncode}, not {wanted}."
        )
    return Step(title, shown, output, done.returncode)


def _environment(folder: Path) -> dict[str, str]:
    """What the steps run in: a catalog of their own, and plain text of 80 columns for the page."""
    # Each of these would put escape codes, or a traceback, into what is kept.
    unwanted = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "LORAKIT_DEBUG")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {
        **kept,
        "LORAKIT_HOME": str(folder / "home"),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


def _finish(folder: Path, steps: list[Step]) -> None:
    from PIL import Image

    from lorakit.preview.sheet import side_by_side
    from lorakit.report.demo_page import write_demo_page

    if (folder / "merged.safetensors").exists():
        raise LorakitError("The refused export left a file behind; this must never happen.")
    pictures = folder / "pictures"
    with Image.open(pictures / "plain.png") as plain, Image.open(pictures / "stack.png") as stack:
        side_by_side([("base alone", plain), (STACK, stack)]).save(pictures / "sheet.png")
    write_demo_page(
        folder / "demo.html",
        pictures=[("Base alone", pictures / "plain.png"), (STACK, pictures / "stack.png")],
        sheet=folder / "grid" / "sheet.png",
        steps=[(step.title, step.command, step.output, step.exit_code) for step in steps],
    )
