"""Adapters into one adapter: exact factors, their singular values, methods of merging, the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorakit.merging.checking.comparing import Comparison as Comparison
    from lorakit.merging.checking.comparing import compare as compare

__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, as `lorakit` itself does."""
    if name not in __all__:
        raise AttributeError(f"module 'lorakit.merging' has no attribute {name!r}")
    from lorakit.merging.checking import comparing

    value: object = getattr(comparing, name)
    return value
