"""Patterns with `*` and `?`, and the parts of text that they describe whole."""

from __future__ import annotations

import re
from functools import lru_cache

from lorakit.catalog.query.syntax import GLOB

# Stands before and after each part; folded text holds no control characters.
EDGE = "\x1f"
_INSIDE = f"[^{EDGE}]"


def parted(parts: tuple[str, ...] | list[str]) -> str:
    """Folded texts as parts of one; "" for none."""
    return f"{EDGE}{EDGE.join(parts)}{EDGE}" if parts else ""


def fits(pattern: str, text: str) -> bool:
    """Whether `text`, or one of its parts, is what a folded pattern describes."""
    if not pattern.strip("*"):
        return text != ""
    return compiled(pattern).search(f"{EDGE}{text}{EDGE}") is not None


def fixed_texts(pattern: str) -> list[str]:
    """What must stand in a text that has a part as the pattern says, with the edges of that part."""
    pieces = dict.fromkeys(GLOB.split(f"{EDGE}{pattern}{EDGE}"))
    return [piece for piece in pieces if piece.strip(EDGE)]


def is_simple(pattern: str) -> bool:
    """Whether a pattern asks for nothing but one fixed text: it has stars at its ends alone."""
    return GLOB.search(pattern.strip("*")) is None and pattern.strip("*") != ""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression that finds a part as the pattern says, in text with edges.

    The pattern has more than stars. Each star ends at the first place where what follows it stands, and
    that is never given back: trying again could take forever.
    """
    pieces = [piece for piece in f"{EDGE}{pattern}{EDGE}".split("*") if piece not in ("", EDGE)]
    return re.compile(_fixed(pieces[0]) + "".join(_up_to(piece) for piece in pieces[1:]))


def lines_with(expression: re.Pattern[str], text: str) -> list[int] | None:
    """The lines of a text, counted from 0, in which an expression of `compiled` finds something.

    None where that takes a look at each line, since the expression fits what lies between two lines.
    """
    found: list[int] = []
    line = before = start = 0
    while match := expression.search(text, start):
        first, last = match.span()
        if "\n" in text[first:last]:
            return None
        line += text.count("\n", before, first)
        found.append(line)
        before = start = text.find("\n", last)
        if start < 0:
            break
    return found


def _up_to(piece: str) -> str:
    """The expression for whatever stands before a piece, and the piece."""
    first, rest = piece[0], _fixed(piece[1:])
    if first == "?":
        return f"(?>{_INSIDE}*?{_INSIDE}{rest})"
    other = f"[^{EDGE}{re.escape(first)}]"
    before = f"(?:{other}++|{re.escape(first)}(?!{rest}))*+" if rest else f"{other}*+"
    return before + re.escape(first) + rest


def _fixed(text: str) -> str:
    return "".join(_INSIDE if sign == "?" else re.escape(sign) for sign in text)
