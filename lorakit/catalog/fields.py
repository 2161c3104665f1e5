"""The fields that facts of a content are kept in, what may stand in each, and whose word goes first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lorakit.db.times import from_text, to_text
from lorakit.errors import BadUsage

USER = "user"
# When a server was asked about a file, everything or its terms alone: nothing that undo is for by itself.
ASKED, ASKED_TERMS = "asked", "asked_terms"
# Begins the field that keeps a tag of others away which a person took; a field for each, so that each
# can be undone by itself.
TAKEN_TAG = "tag_taken:"
# Whoever stands further left is shown where several say something.
SOURCES = (
    USER,
    "lorakit",
    "lora-manager",
    "a1111",
    "civitai-helper",
    "civitai",
    "stability-matrix",
    "swarmui",
    "rgthree",
    "card",
    "header",
)

# What they are called in a sentence.
_CALLED = {
    USER: "you",
    "lora-manager": "LoRA Manager",
    "a1111": "A1111",
    "civitai-helper": "Civitai Helper",
    "civitai": "Civitai",
    "stability-matrix": "Stability Matrix",
    "swarmui": "SwarmUI",
    "card": "the model card",
    "header": "the file's header",
}


def called(source: str) -> str:
    """What a person calls a source: `LoRA Manager`, `the model card`."""
    return _CALLED.get(source, source)


def taken_tag(tag: str) -> str:
    """The field in which it is kept that a person took this tag away."""
    return f"{TAKEN_TAG}{tag.casefold()}"


def is_taken_tag(field: str) -> bool:
    """Whether a field is one of `taken_tag`."""
    return field.startswith(TAKEN_TAG)


def check_fact(field: str, value: object, source: str) -> Any:  # noqa: ANN401 - any JSON value
    """`value` as it is kept in `field`. Raises `BadUsage` for what cannot stand there."""
    if source not in SOURCES:
        raise BadUsage(f"{source!r} is no source of facts.", hint=f"Known are: {_listed(SOURCES)}.")
    check = _flag if is_taken_tag(field) else FIELDS.get(field)
    if check is None:
        raise BadUsage(
            f"{field!r} is no field of an adapter.", hint=f"Known are: {_listed(FIELDS)}."
        )
    try:
        return check(value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        reason = str(error) if type(error) is ValueError else f"it cannot be {value!r}"
        raise BadUsage(f"{field} is not set: {reason}.") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text that is not empty")
    return value.strip()


def _page(value: object) -> str:
    text = _text(value)
    if not text.startswith(("https://", "http://")) or any(c.isspace() for c in text):
        raise ValueError(f"{text!r} is no address that begins with https://")
    return text


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")
    return value


def _rating(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5:
        raise ValueError(f"it must be a whole number from 1 to 5, not {value}")
    return value


def _strength(value: object) -> dict[str, float | None]:
    """`value`, and the bounds of its usual range or None."""
    if not isinstance(value, Mapping) or not value.keys() <= {"value", "min", "max"}:
        raise ValueError("it must have a value, and may have min and max")
    found = {key: _number(value.get(key)) for key in ("value", "min", "max")}
    middle, low, high = found["value"], found["min"], found["max"]
    if middle is None:
        raise ValueError("it must have a value")
    if low is not None and high is not None and low > high:
        raise ValueError(f"its range ends before it begins: {low:g}..{high:g}")
    if (low is not None and low > middle) or (high is not None and high < middle):
        raise ValueError(f"{middle:g} lies outside its own range")
    return found


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)


def _words(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple) or not value:
        raise ValueError("it must be a list of words that is not empty")
    return list(dict.fromkeys(_text(word) for word in value))


def _used(value: object) -> dict[str, Any]:
    """`count`, and the day of the last time or None."""
    if not isinstance(value, Mapping) or value.keys() != {"count", "last"}:
        raise ValueError("it must have a count and the last day")
    count, last = value["count"], value["last"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"it must be a whole number from 1 on, not {count}")
    return {"count": count, "last": None if last is None else _text(last)}


def _moment(value: object) -> str:
    return to_text(from_text(_text(value)))


def _listed(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return ", ".join(names)


FIELDS: Mapping[str, Callable[[object], Any]] = {
    "title": _text,
    "notes": _text,
    "description": _text,
    "rating": _rating,
    "favourite": _flag,
    "strength": _strength,
    "trigger_words": _words,
    "base_model": _text,
    "author": _text,
    "page": _page,
    "nsfw": _flag,
    "cover": _text,
    # How often a program saw it used, and the last day.
    "used": _used,
    ASKED: _moment,
    ASKED_TERMS: _moment,
}
