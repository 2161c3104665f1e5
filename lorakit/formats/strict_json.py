"""JSON as the reference reader of safetensors takes it.

Python's own parser accepts more: names given twice, numbers of any length, and halves of surrogate pairs,
which no terminal prints and no database stores. (NaN it accepts too, but as a float, which stands nowhere
in a header.)
"""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Every number in a header is an unsigned 64-bit integer.
_MAX_DIGITS = 20


def loads(text: str) -> Any:  # noqa: ANN401 (JSON is anything)
    """Parse `text`. Raises `ValueError` or `RecursionError`."""
    found = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_int=_natural,
    )
    if _SURROGATE.search(text):
        _refuse_surrogates(found)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"it names {key[:200]!r} twice")
            seen.add(key)
    return found


def _natural(digits: str) -> int:
    if digits.startswith("-") or len(digits) > _MAX_DIGITS:
        raise ValueError(f"it holds the number {digits[:40]}")
    return int(digits)


def _refuse_surrogates(found: object) -> None:
    # A whole pair has become one character by now; only a lone half cannot be encoded.
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair") from error
