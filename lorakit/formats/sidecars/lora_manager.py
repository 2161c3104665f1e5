"""LoRA Manager's `X.metadata.json` (docs/metadata-json-schema.md of willmiao/ComfyUI-Lora-Manager)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lorakit.formats.own_record import table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

SOURCE = "lora-manager"
_KNOWN = (
    "base_model",
    "civitai",
    "favorite",
    "hf_url",
    "modelDescription",
    "model_name",
    "notes",
    "sha256",
    "tags",
    "trainedWords",
    "usage_tips",
)
_RANGE = re.compile(r"\s*(-?\d*\.?\d+)\s*(?:-|–|~|to|\.\.)\s*(-?\d*\.?\d+)\s*")


def lora_manager_facts(document: Mapping[str, Any], place: str, stem: str) -> SidecarFacts:
    """What a record says of the model file with this `stem`."""
    civitai = table(document.get("civitai"))
    name = values.line(document.get("model_name"))
    numbers = civitai.get("modelId"), civitai.get("id")
    fields = {
        # Until it knows better, it calls a model by its file.
        "title": None if name == stem else name,
        "notes": values.prose(document.get("notes")),
        "description": values.prose(document.get("modelDescription")),
        # False is what every record begins with.
        "favourite": values.flag(document.get("favorite")) or None,
        "strength": tips_strength(document.get("usage_tips")),
        "trigger_words": values.words(civitai.get("trainedWords"))
        or values.words(document.get("trainedWords")),
        "base_model": values.known_line(document.get("base_model")),
        "author": values.line(table(civitai.get("creator")).get("username")),
        "page": values.page(*numbers) or values.address(document.get("hf_url")),
        "nsfw": values.flag(table(civitai.get("model")).get("nsfw")),
    }
    return SidecarFacts(
        SOURCE,
        place,
        values.given(fields),
        values.tags(document.get("tags")),
        values.sha256(document.get("sha256")),
        values.rest(document, _KNOWN),
    )


def tips_strength(tips: object) -> dict[str, float | None] | None:
    """The strength in `usage_tips`, which is an object or, as a rule, the text of one."""
    found = read_tips(tips)
    low, high = found.get("strength_min"), found.get("strength_max")
    text = found.get("strength_range")
    if low is None and high is None and isinstance(text, str):
        span = _RANGE.fullmatch(text[:100])
        low, high = span.groups() if span else (None, None)
    return values.strength(found.get("strength"), low, high)


def read_tips(tips: object) -> dict[str, Any]:
    """`usage_tips` as an object; an empty one for anything else."""
    if isinstance(tips, str):
        try:
            tips = json.loads(tips)
        except (ValueError, RecursionError):
            return {}
    return table(tips)
