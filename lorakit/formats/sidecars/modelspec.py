"""ModelSpec's fields, in a file's own header and in SwarmUI's `X.swarm.json`; and `ssmd_*`.

https://github.com/Stability-AI/ModelSpec; `lora_default_weight` is SwarmUI's addition, the `ssmd_*` keys
those of sd-webui-additional-networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

SWARM = "swarmui"
HEADER = "header"
_PREFIX = "modelspec."
_SAID = (
    "title",
    "author",
    "description",
    "trigger_phrase",
    "usage_hint",
    "tags",
    "lora_default_weight",
    "hash_sha256",
)
# Only these are read from headers here: title, trigger words and base stand with the adapter itself.
HEADER_KEYS = (
    "modelspec.author",
    "modelspec.description",
    "modelspec.usage_hint",
    "modelspec.tags",
    "modelspec.lora_default_weight",
    "ssmd_author",
    "ssmd_description",
    "ssmd_rating",
    "ssmd_tags",
    "ssmd_source",
)


def swarm_facts(document: Mapping[str, Any], place: str) -> SidecarFacts:
    """What SwarmUI's record says; keys with and without the prefix `modelspec.`."""
    said = {key: document.get(_PREFIX + key, document.get(key)) for key in _SAID}
    weight = said["lora_default_weight"]
    fields = {
        "title": values.line(said["title"]),
        "author": values.line(said["author"]),
        "description": values.prose(said["description"]),
        "notes": values.prose(said["usage_hint"]),
        "trigger_words": values.words(said["trigger_phrase"]),
        "strength": values.strength(weight) if weight not in (None, "") else None,
    }
    return SidecarFacts(
        SWARM,
        place,
        values.given(fields),
        values.tags(said["tags"]),
        values.sha256(said["hash_sha256"]),
        values.rest(document, [name for key in _SAID for name in (key, _PREFIX + key)]),
    )


def header_facts(metadata: Mapping[str, str]) -> SidecarFacts | None:
    """What a header says beside title, trigger words and base; None where that is nothing."""
    said = {key: _stated(metadata.get(key)) for key in HEADER_KEYS}
    if not any(said.values()):
        return None
    fields = {
        "author": values.line(said["modelspec.author"] or said["ssmd_author"]),
        "description": values.prose(said["modelspec.description"] or said["ssmd_description"]),
        "notes": values.prose(said["modelspec.usage_hint"]),
        "rating": values.stars(said["ssmd_rating"]),
        "strength": values.strength(said["modelspec.lora_default_weight"]),
        "page": values.address(said["ssmd_source"]),
    }
    found = values.tags(said["modelspec.tags"]) + values.tags(said["ssmd_tags"])
    return SidecarFacts(HEADER, "", values.given(fields), tuple(dict.fromkeys(found)))


def _stated(text: str | None) -> str | None:
    # kohya writes Python's None as text.
    return text if text and text.strip() not in ("", "None") else None
