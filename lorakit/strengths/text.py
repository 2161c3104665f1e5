"""Strengths as text: `0.8@blocks=0-9:0,10-27:1@kinds=adaln:0@steps=0-8`.

After the base come refinements, each with an `@` before it and each once at most:

    @blocks=RANGE:FACTOR,...      RANGE is 0-9 (both ends included), 5, or 9- (from 9 on)
    @kinds=KIND:FACTOR,...        self_attn, cross_attn, mlp, adaln, or root (the transformer's own, outside its blocks)
    @components=NAME:FACTOR,...   dit, llm_adapter, text_encoder
    @modules=PATTERN:FACTOR,...   blocks.*.mlp.*
    @lbw=NUMBER,... or PRESET     28, 40 or 52 numbers, or one more with BASE first
    @steps=RANGE,...              counted from 0

LoRA-block-weight's own words stand for the same: `w` for `lbw`, and `start=A`, `stop=B`, `step=A-B`
for the steps from A on, up to but without B.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage
from lorakit.strengths.fields import from_fields, to_fields

if TYPE_CHECKING:
    from lorakit.strengths.strength import Strength

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(NUMBER)
_FACTORS = ("blocks", "kinds", "components", "modules")
_WORDS = (*_FACTORS, "lbw", "steps")
_ALIASES = {"w": "lbw"}
_BOUNDS = ("start", "stop", "step")
_RANDOM = {"R": "a random number", "U": "a random number", "X": "a plot's axis"}


def number(value: float) -> str:
    """The shortest text that reads back as exactly `value`."""
    return repr(float(value)).removesuffix(".0")


def parse_number(text: str) -> float:
    """A number with a point or an exponent. Raises `BadUsage`."""
    if not _NUMBER.fullmatch(text.strip()):
        raise BadUsage(f"{text!r} is not a number.")
    return float(text)


def strength_text(strength: Strength) -> str:
    """The text that `parse_strength` reads back to an equal strength."""
    text = number(strength.base)
    for word, value in to_fields(strength).items():
        if isinstance(value, Mapping):
            value = ",".join(f"{name}:{number(factor)}" for name, factor in value.items())
        elif isinstance(value, list):
            value = ",".join(map(number, value))
        text += f"@{word}={value}"
    return text


def parse_strength(text: str) -> Strength:
    """Read a base and its refinements. Raises `BadUsage`."""
    base, *parts = text.strip().split("@")
    return from_fields(parse_number(base), parse_parts(parts))


def parse_parts(parts: list[str]) -> dict[str, object]:
    """Read refinements, each `WORD=VALUE`, into fields for `from_fields`. Raises `BadUsage`."""
    given: dict[str, str] = {}
    for part in parts:
        word, found, value = part.partition("=")
        word = _ALIASES.get(word.strip(), word.strip())
        if not found or word not in (*_WORDS, *_BOUNDS):
            raise BadUsage(
                f"{part!r} does not refine a strength.",
                hint=f"After @ comes one of {', '.join(_WORDS)}, then = and a value.",
            )
        if word in given:
            raise BadUsage(f"{word}= stands twice in one strength.")
        given[word] = value
    fields: dict[str, object] = {word: _pairs(given[word]) for word in _FACTORS if word in given}
    if "lbw" in given:
        fields["lbw"] = _lbw(given["lbw"])
    steps = _steps(given)
    return fields if steps is None else {**fields, "steps": steps}


def _pairs(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in text.split(","):
        name, colon, factor = item.rpartition(":")
        if not colon or not name.strip():
            raise BadUsage(f"{item!r} is not a factor.", hint="Write WHAT:NUMBER, such as 0-9:0.5.")
        if name.strip() in found:
            raise BadUsage(f"{name.strip()!r} has two factors.")
        found[name.strip()] = parse_number(factor)
    return found


def _lbw(text: str) -> str | list[float]:
    items = [item.strip() for item in text.split(",")]
    if len(items) == 1:
        return items[0]
    for item in items:
        if item in _RANDOM:
            raise BadUsage(
                f"lbw's {item} stands for {_RANDOM[item]}, which a stack cannot hold.",
                hint="Write the number.",
            )
    return list(map(parse_number, items))


def _steps(given: Mapping[str, str]) -> str | None:
    bounds = [word for word in _BOUNDS if word in given]
    if not bounds:
        return given.get("steps")
    if "steps" in given or ("step" in given and len(bounds) > 1):
        raise BadUsage("The steps of one strength are given twice.")
    start, stop = given.get("start"), given.get("stop")
    if "step" in given:
        start, dash, last = given["step"].partition("-")
        if not dash:
            raise BadUsage(f"step={start} is no range.", hint="Write step=A-B; B is without it.")
        stop = last or None
    first = _whole(start or "0")
    if stop is None:
        return f"{first}-"
    end = _whole(stop)
    if end <= first:
        raise BadUsage(
            f"A strength that stops at step {end} and starts at step {first} never holds.",
            hint="start is the first step with it, stop the first without it; steps count from 0.",
        )
    return f"{first}-{end - 1}"


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text.strip()):
        raise BadUsage(f"{text!r} is not the number of a step.")
    return int(text)
