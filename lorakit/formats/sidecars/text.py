"""A record as text: read with what its writer chose, and written the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INDENT = re.compile(r"[{\[]\r?\n([ \t]+)")
_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Style:
    """How a file of JSON is written: indent ("" for one line), ends of lines, what is escaped."""

    indent: str = "  "
    newline: str = "\n"
    ends_with_newline: bool = False
    escaped: bool = False
    mark: bool = False


def parse(text: str) -> tuple[dict[str, Any], Style]:
    """The object in `text` and how it is written.

    Raises `ValueError` and `RecursionError` for what is no object, or names a key twice: writing that
    back would lose one.
    """
    mark = text.startswith(_MARK)
    document = json.loads(text.removeprefix(_MARK), object_pairs_hook=_unique)
    if not isinstance(document, dict):
        raise ValueError("it holds no object")
    indent = _INDENT.search(text)
    style = Style(
        indent[1] if indent else "" if document else "  ",
        "\r\n" if "\r\n" in text else "\n",
        text.endswith("\n"),
        "\\u" in text,
        mark,
    )
    return document, style


def compose(document: Mapping[str, Any], style: Style) -> str:
    """`document` as text in that style."""
    text = json.dumps(
        document, indent=style.indent or None, ensure_ascii=style.escaped, separators=None
    )
    ended = text + ("\n" if style.ends_with_newline else "")
    return (_MARK if style.mark else "") + ended.replace("\n", style.newline)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it names a key twice")
    return found
