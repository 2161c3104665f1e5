"""Previews on a CPU with the demo's small model: lorakit, and diffusers with the adapters through PEFT."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.preview_files import Files, write_small
from bench.preview_runs import Request, Result, picture_of, run_way
from bench.tables import Section, command_line, say

# Thin, since so are the model's layers: 128 wide where the real ones are 2048 to 8192.
RANKS = (2, 3, 4, 6)
SIZE, STEPS, CHANGES = 256, 8, 5
SHARE_TARGET, SHEET_TARGET = 0.01, 1.2
OURS, THEIRS = "lorakit", "diffusers PEFT"
NOTE = (
    "The same prompt, size, steps, CFG 1, dtypes and four adapters, each way in a process of its own. The "
    "first picture counts from the start of the process, imports and loading included. The sheet is four "
    "strengths by four seeds. diffusers' own pipeline reads the prompt for every picture; lorakit once. "
    '"Fused" folds the adapters into the weights with `fuse_lora`, and takes them out again for each '
    "change."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels a side")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--changes", type=int, default=CHANGES, help="timed changes of strengths")
    options = parser.parse_args(arguments)
    print(measure(options.size, options.steps, options.changes).markdown())


def measure(size: int = SIZE, steps: int = STEPS, changes: int = CHANGES) -> Section:
    """Write the files into a temporary folder and time every way of rendering."""
    with TemporaryDirectory() as name:
        request = make_request(
            write_small(Path(name), RANKS),
            folder=Path(name),
            device="cpu",
            size=size,
            steps=steps,
            changes=changes,
        )
        results = {}
        for way in (OURS, THEIRS, "diffusers fused"):
            say(f"Timing {way}")
            results[way] = run_way(way, request)
        notes = [NOTE, f"Pictures of {size} × {size} in {steps} steps; the demo's model."]
        notes += difference_notes(request, results)
    return Section("Previews on a CPU", _command(size, steps, changes), table(results), notes)


def make_request(
    files: Files, *, folder: Path, device: str, size: int, steps: int, changes: int
) -> Request:
    """The request for `files`, whose first pictures go to `folder`."""
    return Request(
        folder=str(folder),
        base=str(files.base),
        components=str(files.components),
        whole=str(files.whole),
        adapters=[str(path) for path in files.adapters],
        device=device,
        size=size,
        steps=steps,
        changes=changes,
    )


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """One column a way, one row a figure; the last column says how many times lorakit does better."""
    ours, theirs = results.get(OURS), results.get(THEIRS)
    rows = [
        ("time to the first picture", [r.first for r in results.values()], "{:.2f} s"),
        ("changing strengths", [median(r.changes) for r in results.values()], "{:.4f} s"),
        ("a further picture", [median(r.pictures) for r in results.values()], "{:.3f} s"),
        ("the change's share of it", [share(r) for r in results.values()], "{:.2%}"),
        ("pictures a minute, 4 × 4", [per_minute(r) for r in results.values()], "{:.1f}"),
    ]
    targets = {
        "the change's share of it": f"under {SHARE_TARGET:.0%} on a GPU",
        "pictures a minute, 4 × 4": f"{SHEET_TARGET} times",
    }
    if ours is not None and theirs is not None:
        times = per_minute(ours) / per_minute(theirs)
        targets["pictures a minute, 4 × 4"] += f"; reached {times:.2f} times"
    return [
        ("figure", *results, "target"),
        *(
            (name, *(form.format(value) for value in values), targets.get(name, ""))
            for name, values, form in rows
        ),
    ]


def share(result: Result) -> float:
    """The time of a change of strengths in that of a picture."""
    return median(result.changes) / median(result.pictures)


def per_minute(result: Result) -> float:
    """Pictures a minute over the sheet, changes of strengths included."""
    return 60 * result.cells / result.sheet


def difference_notes(request: Request, results: Mapping[str, Result]) -> list[str]:
    """How far the first pictures are apart: that both ways render the same thing."""
    import numpy as np
    from PIL import Image

    if OURS not in results:
        return []
    mine = np.asarray(Image.open(picture_of(OURS, request))).astype(int)
    notes = []
    for way in results:
        if way != OURS:
            other = np.asarray(Image.open(picture_of(way, request))).astype(int)
            away = float(np.abs(mine - other).mean())
            notes.append(
                f"First picture of {way}: {away:.2f} of 255 from lorakit's on average, which holds fused "
                "weights in the base's bfloat16."
            )
    return notes


def _command(size: int, steps: int, changes: int) -> str:
    given = {"size": (size, SIZE), "steps": (steps, STEPS), "changes": (changes, CHANGES)}
    return command_line("preview", **{n: v for n, (v, usual) in given.items() if v != usual})


def obstacle() -> str | None:
    """Why this benchmark cannot run here."""
    from bench.machine import installed

    needed = ("diffusers", "transformers", "accelerate", "pillow", "peft")
    absent = [name for name in needed if installed(name) is None]
    return f"not installed: {', '.join(absent)}." if absent else None


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
