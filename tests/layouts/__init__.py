"""The key tables of real trainers, kept as templates: one JSON file for each trainer and mode.

A group stands for the product of its `key` template, its `modules` (name in the file -> [out, in]), the
ranges its letters run over and its `parts` (suffix -> dtype, shape and, for a number, the value). Sizes in
a shape are numbers or `out`, `in` and `rank`, which a slash may divide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from tests.factories import Payload, number, zeros

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def read_layout(name: str) -> dict[str, Any]:
    """The table `name`, as it stands in the file."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def layout_tensors(table: Mapping[str, Any]) -> dict[str, Payload]:
    """Every tensor of a file that follows `table`."""
    found: dict[str, Payload] = {}
    for group in table["groups"]:
        ranges = {letter: range(*bounds) for letter, bounds in group["ranges"].items()}
        for values in product(*ranges.values()):
            letters = dict(zip(ranges, values, strict=True))
            for module, (rows, columns) in group["modules"].items():
                key = group["key"].format(module=module, **letters)
                sizes = {"out": rows, "in": columns, "rank": table.get("rank", 0)}
                for suffix, part in group["parts"].items():
                    found[key + suffix] = _payload(part, sizes)
    return found


def _payload(part: list[Any], sizes: Mapping[str, int]) -> Payload:
    dtype, shape, *value = part
    dimensions = tuple(_size(item, sizes) for item in shape)
    return number(float(value[0]), dtype, dimensions) if value else zeros(dtype, dimensions)


def _size(item: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(item, int):
        return item
    name, _, divisor = item.partition("/")
    return sizes[name] // int(divisor or 1)
