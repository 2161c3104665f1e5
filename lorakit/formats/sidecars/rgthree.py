"""rgthree-comfy's `X.safetensors.rgthree-info.json` (py/server/utils_info.py of that project)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorakit.formats.own_record import rows, table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

SOURCE = "rgthree"
_KNOWN = (
    "baseModel",
    "links",
    "name",
    "sha256",
    "strengthMax",
    "strengthMin",
    "trainedWords",
    "userNote",
    "userTags",
)


def rgthree_facts(document: Mapping[str, Any], place: str) -> SidecarFacts:
    """What its record says. Words it merely counted in the training captions are left out."""
    named = [table(word) for word in rows(document.get("trainedWords"))]
    chosen = [word.get("word") for word in named if word.get("civitai") or word.get("user")]
    pages = map(values.address, rows(document.get("links")))
    fields = {
        "title": values.line(document.get("name")),
        "notes": values.prose(document.get("userNote")),
        "trigger_words": values.words(chosen),
        "base_model": values.known_line(document.get("baseModel")),
        "page": next((one for one in pages if one and "/api/" not in one), None),
        "strength": values.strength(None, document.get("strengthMin"), document.get("strengthMax")),
    }
    tags = document.get("userTags")
    return SidecarFacts(
        SOURCE,
        place,
        values.given(fields),
        None if tags is None else values.tags(tags),
        values.sha256(document.get("sha256")),
        values.rest(document, _KNOWN),
    )
