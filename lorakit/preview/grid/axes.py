"""The axes of a grid: what changes from one column, row or page to the next.

`KIND=VALUES`, or `KIND:ENTRY=VALUES` for one entry of the stack: `strength:ink=0,0.5,1`, `seed=1-4`,
`prompt=a cat, ink | a dog, ink`. How values are written is in `values.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.paths import expanded, is_file
from lorakit.preview.grid.values import (
    name_text,
    numbers,
    quoted,
    require_few,
    split_values,
    unquoted,
)
from lorakit.stack import Entry, Stack
from lorakit.strengths import Strength

Kind = Literal[
    "strength",
    "adapter",
    "seed",
    "prompt",
    "replace",
    "cfg",
    "steps",
    "shift",
    "denoise",
    "size",
    "base",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
STACK_KINDS: tuple[Kind, ...] = ("strength", "adapter")
_AXIS = re.compile(r'\s*(\w+)\s*(?::\s*(?:"((?:[^"\\]|\\.)+)"|([^=]*?))\s*)?=(.*)', re.DOTALL)
_TITLES = {"cfg": "CFG", "replace": "words"}


@dataclass(frozen=True)
class Axis:
    """A kind, its values as text in their plain spelling, and the entry of the stack that is meant.

    Without a `target`, an axis of strengths multiplies those of all entries.
    """

    kind: Kind
    values: tuple[str, ...]
    target: str | None = None

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Read `KIND[:ENTRY]=VALUES`.

        Raises `BadUsage` for text that is no axis, a value that cannot be one and a value given twice,
        and `BadFile` for a file of prompts that cannot be read.
        """
        match = _AXIS.fullmatch(text)
        kind = next((kind for kind in KINDS if match and match[1].lower() == kind), None)
        if match is None or kind is None:
            raise BadUsage(
                f"{text!r} is no axis.",
                hint=f"Write KIND=VALUES, such as seed=1-4. KIND is one of {', '.join(KINDS)}.",
            )
        target = unquoted(f'"{match[2]}"') if match[2] else (match[3] or "").strip() or None
        if target is not None and kind not in STACK_KINDS:
            raise BadUsage(f"{kind} takes no entry of the stack.", hint=f"Write {kind}=VALUES.")
        try:
            values = tuple(_values(kind, match[4].strip(), target))
        except BadUsage as error:
            raise BadUsage(f"In the axis {text!r}: {error.message}", hint=error.hint) from error
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise BadUsage(f"The axis {text!r} has {twice!r} twice.")
        return cls(kind, values, target)

    def __str__(self) -> str:
        """The text that `parse` reads back to an equal axis."""
        target = f":{name_text(self.target)}" if self.target else ""
        texts = self.kind in ("prompt", "replace", "base") or any("@" in v for v in self.values)
        plain = self.kind == "adapter" or not texts
        values = self.values if plain else map(quoted, self.values)
        # A comma in an adapter's value stands outside quotes.
        mark = " | " if self.kind == "adapter" and len(self.values) > 1 else ","
        return f"{self.kind}{target}={mark.join(values)}"

    @property
    def title(self) -> str:
        """What changes along it, in a word or two."""
        title = _TITLES.get(self.kind, self.kind)
        if not self.target:
            return title
        link = "in place of" if self.kind == "adapter" else "of"
        return f"{title} {link} {short_name(self.target)}"

    def label(self, value: str) -> str:
        """What stands over a column or beside a row of this value."""
        if self.kind == "strength":
            return f"{short_name(self.target)} {value}" if self.target else f"strength × {value}"
        if self.kind == "steps":
            return "1 step" if value == "1" else f"{value} steps"
        if self.kind in ("seed", "cfg", "shift", "denoise"):
            return f"{_TITLES.get(self.kind, self.kind)} {value}"
        if self.kind == "size":
            return value.replace("x", " × ")
        if self.kind == "adapter":
            entry, has_strength = parse_adapter(value)
            return (
                f"{short_name(entry.name)} {entry.strength}"
                if has_strength
                else short_name(entry.name)
            )
        if self.kind == "base":
            return short_name(value)
        return value or "(no prompt)"


def _values(kind: Kind, text: str, target: str | None) -> list[str]:
    if kind == "prompt" and (lines := _lines_of(text)) is not None:
        return lines
    raw = split_values(text)
    if kind in ("seed", "steps"):
        return numbers(raw, whole=True)
    if kind in ("cfg", "shift", "denoise") or (kind == "strength" and target is None):
        return numbers(raw, whole=False)
    if kind == "strength":
        return [number for value in raw for number in _strengths(unquoted(value))]
    if kind == "size":
        return [f"{width}x{height}" for width, height in map(parse_size, raw)]
    if kind == "adapter":
        # `"my ink":0.5` is quoted in part; what is quoted as a whole may be a name or an entry.
        return raw
    values = [unquoted(value) for value in raw]
    if kind == "replace" and (len(values) < 2 or not values[0]):
        raise BadUsage(
            "Two words or more are needed: the one that is in the prompt, and what it is replaced by.",
            hint="Such as replace=lighthouse,castle,windmill.",
        )
    return values


def _strengths(value: str) -> list[str]:
    """A range, or one strength with its refinements."""
    return [str(Strength.parse(value))] if "@" in value else numbers([value], whole=False)


def parse_size(text: str) -> tuple[int, int]:
    """`832x1216` as (width, height) in pixels. Raises `BadUsage`."""
    match = re.fullmatch(r"(\d{1,5})\s*[x×]\s*(\d{1,5})", text.strip().lower())
    if match is None:
        raise BadUsage(f"{text!r} is not a size.", hint="Write WIDTHxHEIGHT, such as 832x1216.")
    return int(match[1]), int(match[2])


def _lines_of(text: str) -> list[str] | None:
    """The lines of the file that `@FILE` names; None where `text` is no such thing.

    A prompt may begin with an @ as well, so a file has to be there, or to be named like one.
    """
    path = expanded(text[1:].strip()) if text.startswith("@") else None
    if path is None or not (is_file(path) or path.suffix.lower() == ".txt"):
        return None
    lines = read_prompts(path)
    require_few(len(lines))
    return lines


def read_prompts(path: Path) -> list[str]:
    """The prompts in a text file, one a line; empty lines are passed over. Raises `BadFile`."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise BadFile(f"The prompts in {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not text in UTF-8.", hint="Save it as UTF-8.") from error
    found = [line for line in lines if line]
    if not found:
        raise BadFile(f"{path} holds no prompt.", hint="Write one prompt a line.")
    return found


def parse_adapter(value: str) -> tuple[Entry, bool]:
    """A name, or a name with a strength; and whether it had one. Raises `BadUsage`."""
    inner = unquoted(value)
    for text in (value, inner):
        try:
            entries = Stack.parse(text).entries
        except LorakitError:
            continue
        if len(entries) == 1:
            return entries[0], entries[0].name not in (value.strip(), inner)
    return Entry(inner), False


def short_name(name: str) -> str:
    """A name as it is, a file by its stem."""
    path = Path(name)
    is_path = len(path.parts) > 1 or path.suffix.lower() in (".safetensors", ".sft")
    return path.stem if is_path else name
