"""Strengths as plain fields, as a stack file and JSON hold them.

blocks = {"0-9" = 0.0}  kinds = {adaln = 0.0}  components = {text_encoder = 0.0}
modules = {"blocks.*.mlp.*" = 0.5}  lbw = "MIDDLE" or [1.0, ...]  steps = "0-8"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorakit.errors import BadUsage
from lorakit.strengths.spans import Span, parse_span
from lorakit.strengths.strength import Strength

FIELDS = ("blocks", "kinds", "components", "modules", "lbw", "steps")


def to_fields(strength: Strength) -> dict[str, str | list[float] | dict[str, float]]:
    """The refinements that `strength` has, without the base."""
    fields: dict[str, str | list[float] | dict[str, float]] = {
        "blocks": {str(span): factor for span, factor in strength.blocks},
        "kinds": dict(strength.kinds),
        "components": dict(strength.components),
        "modules": dict(strength.modules),
        "lbw": strength.lbw if isinstance(strength.lbw, str) else list(strength.lbw or ()),
        "steps": ",".join(map(str, strength.steps)),
    }
    return {name: value for name, value in fields.items() if value}


def from_fields(base: object, fields: Mapping[str, object]) -> Strength:
    """A strength from its base and refinements. Raises `BadUsage` for what makes none."""
    unknown = next((name for name in fields if name not in FIELDS), None)
    if unknown is not None:
        raise BadUsage(
            f"{unknown!r} does not refine a strength.", hint=f"There are: {', '.join(FIELDS)}."
        )
    blocks = _factors(fields, "blocks")
    # What the names may be is for Strength to check.
    named: Any = {part: _factors(fields, part) for part in ("kinds", "components", "modules")}
    return Strength(
        base=_number(base, "strength"),
        blocks=tuple((parse_span(name), factor) for name, factor in blocks),
        **named,
        lbw=_lbw(fields.get("lbw")),
        steps=_steps(fields.get("steps")),
    )


def _factors(fields: Mapping[str, object], part: str) -> tuple[tuple[str, float], ...]:
    table = fields.get(part, {})
    if not isinstance(table, Mapping) or not all(isinstance(name, str) for name in table):
        raise BadUsage(f"`{part}` must be a table of names and numbers, and is {table!r}.")
    return tuple((name, _number(value, part)) for name, value in table.items())


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadUsage(f"`{where}` must hold numbers, and holds {value!r}.")
    try:
        return float(value)
    except OverflowError as error:
        raise BadUsage(f"`{where}` holds a number that is far too large.") from error


def _lbw(value: object) -> str | tuple[float, ...] | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise BadUsage(f"`lbw` must be a preset or a list of numbers, and is {value!r}.")
    return tuple(_number(item, "lbw") for item in value)


def _steps(value: object) -> tuple[Span, ...]:
    if value is None:
        return ()
    if not isinstance(value, str):
        raise BadUsage(f'`steps` must be text such as "0-8", and is {value!r}.')
    return tuple(parse_span(item) for item in value.split(","))
