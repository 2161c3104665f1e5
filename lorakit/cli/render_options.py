"""Options of the verbs that render, and how their values are read."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.paths import expanded

MOST_PICTURES = 1000
_SETTINGS = "Settings: left out, those of the base's recipe (RDBT's in brackets)"

Prompts = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="What to render; name a style. Repeat it for several."),
]
PromptFile = Annotated[
    str | None,
    typer.Option("--prompts", metavar="FILE", help="Prompts from a file, one a line; - is stdin."),
]
Negative = Annotated[
    str | None, typer.Option(help="Negative prompt; does nothing at CFG 1.", show_default=False)
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="WxH",
        help="Width and height, multiples of 16. Repeat it for several. [1024x1024]",
        rich_help_panel=_SETTINGS,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(help="16-24 for RDBT, 8-12 with a turbo adapter. [20]", rich_help_panel=_SETTINGS),
]
Cfg = Annotated[
    float | None,
    typer.Option(help="1 costs one pass a step; RDBT takes 1-4. [1]", rich_help_panel=_SETTINGS),
]
Shift = Annotated[
    float | None, typer.Option(help="Shift of the noise schedule. [3]", rich_help_panel=_SETTINGS)
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="SEEDS",
        help="Such as 7, or 1,2,5-8; random picks one and records it. [0]",
        rich_help_panel=_SETTINGS,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="Another base's recipe: rdbt, anima, anima-turbo, animayume, ...",
        rich_help_panel=_SETTINGS,
    ),
]
Image = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Start from this image instead of noise.")
]
Denoise = Annotated[
    float | None,
    typer.Option(help="With --image: 0.1 keeps nearly all of it, 1 nothing. Left out, 0.75."),
]
Device = Annotated[str, typer.Option(help="auto (CUDA, then MPS, then CPU), cuda, mps or cpu.")]
Components = Annotated[
    str | None,
    typer.Option(metavar="DIR-or-REPO", help="Instead of the components the base was added with."),
]
AddTriggers = Annotated[
    bool,
    typer.Option("--add-triggers", help="Put an adapter's trigger word first where none is."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Advice is an error; nothing is rendered.")]


def parse_size(text: str) -> tuple[int, int]:
    """`832x1216` as (width, height). Raises `BadUsage`."""
    match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", text.strip().lower())
    if match is None:
        raise BadUsage(f"{text!r} is not a size.", hint="Write WIDTHxHEIGHT, such as 832x1216.")
    return int(match[1]), int(match[2])


def parse_seeds(text: str) -> list[int]:
    """`1,2,5-8` as [1, 2, 5, 6, 7, 8]; `random` picks one. Raises `BadUsage`."""
    found: list[int] = []
    for item in map(str.strip, text.split(",")):
        match = re.fullmatch(r"(\d{1,19})(?:\s*-\s*(\d{1,19}))?", item)
        if item == "random":
            from secrets import randbelow

            # Other programs take no seed of more than 32 bits.
            found.append(randbelow(2**32))
        elif match is None:
            raise BadUsage(
                f"{text!r} are no seeds.",
                hint="Write numbers and ranges, such as 1,2,5-8, or random.",
            )
        else:
            first, last = int(match[1]), int(match[2] or match[1])
            _require_few(last - first + 1 + len(found))
            if last < first:
                raise BadUsage(f"The range of seeds {item} ends before it begins.")
            found += range(first, last + 1)
    return list(dict.fromkeys(found))


def read_prompts(given: Sequence[str] | None, file: str | None) -> list[str]:
    """The prompts of -p and of the lines of `file`; blank lines are passed over.

    Raises `NotFound` or `BadFile` for the file, `BadUsage` when it has no prompt.
    """
    found = list(given or ())
    if file is None:
        return found
    try:
        text = sys.stdin.read() if file == "-" else expanded(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadFile(f"The prompts in {file} cannot be read: {reason}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadUsage(f"There is no prompt in {'stdin' if file == '-' else file}.")
    return [*found, *lines]


def require_count(prompts: int, sizes: int, seeds: int) -> None:
    """Raise `BadUsage` for more pictures than anybody means."""
    _require_few(prompts * sizes * seeds)


def _require_few(count: int) -> None:
    if count > MOST_PICTURES:
        raise BadUsage(
            f"That would be {count} pictures.", hint=f"Ask for {MOST_PICTURES} at most at once."
        )
