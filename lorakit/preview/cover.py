"""What a cover shows: an adapter at the strength that is recommended for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.formats.generation import real
from lorakit.strengths import MAX_STRENGTH

if TYPE_CHECKING:
    from lorakit.formats.inspection import AdapterReport

SUBJECT = "a lighthouse on a cliff by the sea, a small boat, evening light"
"""What covers show where no prompt is given: a scene in which a style has much to do."""

# Written by SwarmUI, whose name for it is in ModelSpec's style.
_METADATA_KEYS = ("modelspec.lora_default_weight", "lora_default_weight")


@dataclass(frozen=True)
class Recommended:
    """A strength, and where it comes from in words."""

    strength: float
    source: str


def recommended_strength(report: AdapterReport) -> Recommended:
    """The strength that the file recommends for itself, else 1."""
    for key in _METADATA_KEYS:
        found = real(report.metadata.get(key))
        if found is not None and found and abs(found) <= MAX_STRENGTH:
            return Recommended(found, f"{key} in the file")
    return Recommended(1.0, "the usual one; the file recommends none")
