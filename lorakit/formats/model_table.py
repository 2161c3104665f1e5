"""The table of other models' layers (`other_models.toml`), made ready to look layers up in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).with_name("other_models.toml")
# [12], the blocks from 0; [3-5], those from 3 to 5; [n], as many as the size says.
_SPAN = re.compile(r"\[(\w+)(?:-(\d+))?\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model has a layer of a name: in which blocks, one span per number, and of how many inputs.

    `inputs` is None where any width will do.
    """

    model: int
    spans: tuple[range, ...]
    inputs: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """The models by number; their layers by template (layer_names.py); the length of each model's stacks."""

    names: tuple[str, ...]
    places: Mapping[str, tuple[Place, ...]]
    stacks: tuple[Mapping[str, int], ...]


@cache
def table() -> Table:
    """The table, which is read once."""
    # Most files need nothing of it.
    import tomllib

    names: list[str] = []
    places: dict[str, list[Place]] = {}
    stacks: list[dict[str, int]] = []
    for entry in tomllib.loads(_TABLE.read_text("utf-8"))["model"]:
        for size in entry.get("sizes") or [{"name": entry["name"]}]:
            names.append(size["name"])
            stacks.append({})
            for template, place in _places(entry, size, len(names) - 1):
                places.setdefault(template, []).append(place)
                if place.spans:
                    stack = template.partition("#")[0]
                    stacks[-1][stack] = max(stacks[-1].get(stack, 0), place.spans[0].stop)
    return Table(
        tuple(names), {name: tuple(found) for name, found in places.items()}, tuple(stacks)
    )


def _places(
    entry: Mapping[str, Any], size: Mapping[str, Any], model: int
) -> list[tuple[str, Place]]:
    kind = "text " if entry.get("text") else ""
    found = [(kind + name, Place(model, (), None)) for name in entry.get("root", ())]
    for stem, widths in entry.get("layers", {}).items():
        spans = tuple(_span(match, size) for match in _SPAN.finditer(stem))
        template = kind + _SPAN.sub("#", stem)
        for width, names in widths.items():
            inputs = None if width == "any" else _number(width, size)
            # A size that says nothing of a width, or no blocks, does not have the layer.
            if inputs == 0 or any(not span for span in spans):
                continue
            for name in names:
                found.append(
                    (f"{template}_{name}" if name else template, Place(model, spans, inputs))
                )
    return found


def _span(match: re.Match[str], size: Mapping[str, Any]) -> range:
    if match[2] is not None:
        return range(int(match[1]), int(match[2]) + 1)
    return range(_number(match[1], size))


def _number(text: str, size: Mapping[str, Any]) -> int:
    """A number as it stands, or the one that a size has under that letter; 0 where it has none."""
    return int(text) if text.isdigit() else int(size.get(text, 0))
