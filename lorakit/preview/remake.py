"""From what a picture says of itself to the settings that make it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from lorakit.errors import LorakitError
from lorakit.formats.generation import Generation, StartImage
from lorakit.preview.settings import (
    LARGEST_CFG,
    LARGEST_SEED,
    LONGEST_SIDE,
    MOST_STEPS,
    SIDE_STEP,
)


def find_start_image(start: StartImage, picture: Path) -> Path:
    """The image that `picture` began from, beside it or here.

    Raises `LorakitError` when there is none of that name, or another one.
    """
    places = dict.fromkeys((picture.parent / start.name, Path(start.name)))
    there = [path for path in places if path.is_file()]
    for path in there:
        if start.sha256 is None or _sha256(path) == start.sha256:
            return path
    what = "is another image" if there else "is not beside it or in this folder"
    raise LorakitError(
        f"The picture began from the image {start.name}, which {what}.",
        hint="Name it with --image.",
    )


def fitting(made: Generation) -> tuple[dict[str, int | float], tuple[str, ...]]:
    """The numbers of `made` as `RenderSettings` takes them, and remarks on those that were changed.

    Other programs render sizes, seeds and guidance that lorakit does not.
    """
    values: dict[str, int | float] = {}
    remarks: list[str] = []

    def take(name: str, value: float | None, possible: Callable[[float], float]) -> None:
        if value is None:
            return
        values[name] = possible(value)
        if values[name] != value:
            remarks.append(f"Its {name} {value} became {values[name]}.")

    take("width", made.width, _side)
    take("height", made.height, _side)
    take("steps", made.steps, lambda steps: min(max(1, steps), MOST_STEPS))
    take("cfg", made.cfg, lambda cfg: min(max(1.0, cfg), LARGEST_CFG))
    take("seed", made.seed, lambda seed: int(seed) & LARGEST_SEED)
    if made.shift is not None and made.shift > 0:
        values["shift"] = made.shift
    if made.denoise is not None and 0 < made.denoise <= 1:
        values["denoise"] = made.denoise
    return values, tuple(remarks)


def differences(made: Generation, here: dict[str, str]) -> tuple[str, ...]:
    """Why a picture that lorakit made may come out with other pixels `here` (as its environment)."""
    found = [
        f"{name} {made.environment[name]} then, {value} now"
        for name, value in here.items()
        if made.environment.get(name, value) != value
    ]
    return (f"Pixels may differ: {'; '.join(found)}.",) if found else ()


def _side(side: float) -> int:
    return min(max(round(side / SIDE_STEP) * SIDE_STEP, SIDE_STEP), LONGEST_SIDE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
