"""Stability Matrix's `X.cm-info.json`, whose keys begin with capitals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorakit.formats.own_record import table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

SOURCE = "stability-matrix"
_KNOWN = (
    "AuthorUsername",
    "BaseModel",
    "Hashes",
    "ModelDescription",
    "ModelId",
    "ModelName",
    "Nsfw",
    "SourceUrl",
    "Tags",
    "TrainedWords",
    "UserTitle",
    "VersionDescription",
    "VersionId",
)


def stability_matrix_facts(document: Mapping[str, Any], place: str) -> SidecarFacts:
    """What its record says; a title of the person's own goes before the model's name."""
    fields = {
        "title": values.line(document.get("UserTitle")) or values.line(document.get("ModelName")),
        "description": values.prose(document.get("ModelDescription"))
        or values.prose(document.get("VersionDescription")),
        "trigger_words": values.words(document.get("TrainedWords")),
        "base_model": values.known_line(document.get("BaseModel")),
        "author": values.line(document.get("AuthorUsername")),
        "page": values.address(document.get("SourceUrl"))
        or values.page(document.get("ModelId"), document.get("VersionId")),
        "nsfw": values.flag(document.get("Nsfw")),
    }
    return SidecarFacts(
        SOURCE,
        place,
        values.given(fields),
        values.tags(document.get("Tags")),
        values.sha256(table(document.get("Hashes")).get("SHA256")),
        values.rest(document, _KNOWN),
    )
