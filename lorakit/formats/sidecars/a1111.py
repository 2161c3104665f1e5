"""A1111's and Forge's own `X.json`, and `X.txt`, which holds a description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorakit.formats.generation import real
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

SOURCE = "a1111"
# Beside a model may lie any `X.json`; one with none of these is not A1111's.
MARKS = ("activation text", "preferred weight", "sd version", "negative text")
_KNOWN = (*MARKS[:3], "description", "notes", "sha256", "modelId", "modelVersionId")


def is_a1111(document: Mapping[str, Any]) -> bool:
    """Whether a document is A1111's, by its keys."""
    return any(mark in document for mark in MARKS)


def a1111_facts(document: Mapping[str, Any], place: str) -> SidecarFacts:
    """What A1111's record says. A preferred weight of 0 stands for none."""
    weight = real(document.get("preferred weight"))
    fields = {
        "notes": values.prose(document.get("notes")),
        "description": values.prose(document.get("description")),
        "strength": values.strength(weight) if weight else None,
        "trigger_words": values.words(document.get("activation text")),
        "base_model": values.known_line(document.get("sd version")),
        "page": values.page(document.get("modelId"), document.get("modelVersionId")),
    }
    return SidecarFacts(
        SOURCE,
        place,
        values.given(fields),
        hashes=values.sha256(document.get("sha256")),
        others=values.rest(document, _KNOWN),
    )


def text_facts(text: str, place: str) -> SidecarFacts:
    """What a file of plain text says: a description."""
    return SidecarFacts(SOURCE, place, values.given({"description": values.prose(text)}))
