"""The list after an axis's equals sign: `0,0.5,1`, `0..1:0.25`, `1-4`, `a cat, ink | a dog, wash`.

Commas part the values, or `|` where there is one, so that values may hold commas; inside double quotes
neither does. Where numbers are wanted a value may be a range, both ends included: `A..B` or `A-B` in
steps of 1, `A..B:STEP`, and as A1111 writes them `A-B (+STEP)` and `A-B [COUNT]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from lorakit.errors import BadUsage

MOST_VALUES = 1000
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(
    rf"(?P<first>{_NUMBER})\s*(?:\.\.|-)\s*(?P<last>{_NUMBER})\s*"
    rf"(?:: ?(?P<step>{_NUMBER})|\((?P<signed>{_NUMBER})\)|\[(?P<count>\d{{1,6}})\])?"
)


def split_values(text: str) -> list[str]:
    """The values in `text`, trimmed, still in their quotes.

    Raises `BadUsage` for an empty value, a quote without its end, and more than `MOST_VALUES`.
    """
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: "x" * len(quoted[0]), text)
    if '"' in outside:
        raise BadUsage(f"A double quote in {text!r} has no end.")
    mark = "|" if "|" in outside else ","
    bounds = [-1, *(at for at, sign in enumerate(outside) if sign == mark), len(text)]
    values = [text[a + 1 : b].strip() for a, b in pairwise(bounds)]
    if not all(values):
        raise BadUsage(
            f"There is an empty value in {text!r}.",
            hint='Write the values with commas between, such as 0,0.5,1; "" is an empty prompt.',
        )
    require_few(len(values))
    return values


def require_few(count: int) -> None:
    """Raise `BadUsage` for more values than an axis may have."""
    if count > MOST_VALUES:
        raise BadUsage(
            f"An axis of {count} values is too long.", hint=f"Give at most {MOST_VALUES}."
        )


def unquoted(value: str) -> str:
    """`value` without quotes around the whole of it."""
    if not re.fullmatch(r'"(?:[^"\\]|\\.)*"', value):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)


def quoted(value: str) -> str:
    """`value` in quotes, which `unquoted` takes off again."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def name_text(name: str) -> str:
    """A name as it stands in an axis, in quotes where it needs them."""
    return name if re.fullmatch(r'[^\s",|@:=<]+', name) else quoted(name)


def numbers(values: list[str], *, whole: bool) -> list[str]:
    """Numbers and ranges, each number as the shortest text of itself.

    Raises `BadUsage` for what is neither, and for a part of a number where `whole` ones are wanted.
    """
    found: list[str] = []
    for value in values:
        match = _RANGE.fullmatch(value)
        found += list(_range(value, match)) if match else [_number(value)]
        require_few(len(found))
    for text in found:
        if whole and not re.fullmatch(r"-?\d+", text):
            raise BadUsage(f"{text} is not a whole number.")
    return found


def _number(value: str) -> str:
    if not re.fullmatch(_NUMBER, value):
        raise BadUsage(
            f"{value!r} is neither a number nor a range.",
            hint="Write numbers such as 0.5, or a range such as 1-4 or 0..1:0.25.",
        )
    return _plain(Decimal(value))


def _range(value: str, match: re.Match[str]) -> Iterator[str]:
    first, last = Decimal(match["first"]), Decimal(match["last"])
    if match["count"]:
        count = int(match["count"])
        if count < 2:
            raise BadUsage(f"The range {value!r} needs a count of 2 or more.")
        step = (last - first) / (count - 1)
    else:
        step = Decimal(match["step"] or match["signed"] or 1)
        if match["step"] or not match["signed"]:
            step = step.copy_sign(last - first)
        if step == 0 or (last - first) / step < 0:
            raise BadUsage(f"The range {value!r} never gets to its end.")
        count = int((last - first) / step) + 1
    require_few(count)
    return (_plain(round(first + step * place, 6)) for place in range(count))


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
