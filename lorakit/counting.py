"""How many there are of something, in words."""

from __future__ import annotations


def counted_rows(count: int, noun: str) -> str:
    """`1 tag`, `3 tags`, `1,500 tags`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
