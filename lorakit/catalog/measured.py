"""Norms of bases, and how much adapters change them, measured once and kept by content.

The norms of a base are kept under its own content, what an adapter changes under the adapter's, for each base.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lorakit.catalog.derived import derived, keep_derived

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog
    from lorakit.catalog.records import BaseRecord

NORMS = "base norms 1"

Progress = Callable[[int, int, str], None]


def kept_base_norms(catalog: Catalog, base: BaseRecord) -> dict[str, float] | None:
    """‖W‖ of every matrix of a registered base by canonical module name, where it has been measured."""
    if base.tensor_sha256 is None:
        return None
    return _numbers(derived(catalog, NORMS).get(base.tensor_sha256))


def base_norms_of(
    catalog: Catalog, base: BaseRecord, on_progress: Progress = lambda done, total, what: None
) -> dict[str, float]:
    """The same, measured now where it has not been: that reads every weight of the base once.

    Raises `NotFound` and `BadFile` when it has to be measured and the file is missing or changed.
    """
    from lorakit.sketches.norms import base_norms

    found = kept_base_norms(catalog, base)
    if found is None:
        found = base_norms(base.unchanged_path(), on_progress)
        if base.tensor_sha256 is not None:
            keep_derived(catalog, NORMS, {base.tensor_sha256: _text(found)})
    return found


def _text(numbers: Mapping[str, float]) -> bytes:
    # Seven digits are more than the weights themselves have.
    short = {name: float(f"{value:.7g}") for name, value in numbers.items()}
    return json.dumps(short, separators=(",", ":")).encode()


def _numbers(data: bytes | None) -> dict[str, float] | None:
    try:
        found = None if data is None else json.loads(data)
        return None if found is None else {name: float(value) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError):
        return None
