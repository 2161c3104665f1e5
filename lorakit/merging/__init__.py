"""Adapters into one adapter: exact factors, their singular values, methods of merging, the result.

`checking` tells what a stack will do, `extracting` makes an adapter of two checkpoints, `verifying` makes a
file again and compares; `methods` holds one method of merging a file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorakit.merging.checking.comparing import Comparison as Comparison
    from lorakit.merging.checking.comparing import compare as compare
    from lorakit.merging.extracting.extract import extract as extract
    from lorakit.merging.merge import merged as merged
    from lorakit.merging.verifying.verify import verify as verify

_HOMES = {
    "Comparison": "checking.comparing",
    "compare": "checking.comparing",
    "extract": "extracting.extract",
    "merged": "merge",
    "verify": "verifying.verify",
}
__all__ = ["Comparison", "compare", "extract", "merged", "verify"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, as `lorakit` itself does."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lorakit.merging' has no attribute {name!r}")
    value: object = getattr(import_module(f"lorakit.merging.{_HOMES[name]}"), name)
    return value
