"""What the header's metadata says of an adapter: kohya's ss_*, ModelSpec, OneTrainer, ai-toolkit.

ModelSpec: https://github.com/Stability-AI/ModelSpec. Everything here is a claim of the file's writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_MAX_TAGS = 64
# Written for adapters of small models, whose size the block indices cannot tell.
BASE_BLOCKS_KEY = "lorakit.base_blocks"
# Above it JSON readers in other languages lose digits, and no data set is that large.
_MAX_COUNT = 2**53


@dataclass(frozen=True)
class TrainingInfo:
    """The claims of a header, the empty ones left as None or ().

    `tags` are (tag, count) from the training captions, the most frequent first. `claimed_hashes`
    are hashes that the header states of its own tensors, which a later edit may have made untrue.
    `base_blocks` is the number of blocks of the base, stated for bases of no published size.
    """

    title: str | None = None
    author: str | None = None
    trainer: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    license: str | None = None
    claimed_rank: str | None = None
    claimed_alpha: str | None = None
    claimed_hashes: tuple[str, ...] = ()
    merged_from: str | None = None
    base_blocks: int | None = None


def read_training_info(metadata: Mapping[str, str]) -> TrainingInfo:
    """Gather the claims of `metadata`. Values that do not parse are left out, never an error."""
    return TrainingInfo(
        title=_first(metadata, "modelspec.title", "ssmd_display_name", "ss_output_name", "name"),
        author=_first(metadata, "modelspec.author", "ssmd_author"),
        trainer=_trainer(metadata),
        base_model=_first(
            metadata,
            "ss_sd_model_name",
            "ss_base_model_version",
            "modelspec.architecture",
        ),
        trigger_words=_trigger_words(metadata),
        tags=_tags(metadata.get("ss_tag_frequency")),
        license=_first(metadata, "modelspec.license"),
        claimed_rank=_first(metadata, "ss_network_dim"),
        claimed_alpha=_first(metadata, "ss_network_alpha"),
        claimed_hashes=_hashes(metadata),
        merged_from=_first(metadata, "modelspec.merged_from"),
        base_blocks=_count(metadata.get(BASE_BLOCKS_KEY)),
    )


def _first(metadata: Mapping[str, str], *keys: str) -> str | None:
    for key in keys:
        value = metadata.get(key, "").strip()
        # kohya writes Python's None as text.
        if value and value != "None":
            return value
    return None


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 5 else None


def _trainer(metadata: Mapping[str, str]) -> str | None:
    if network := _first(metadata, "ss_network_module"):
        return f"sd-scripts ({network})"
    if branch := _first(metadata, "ot_branch"):
        return f"OneTrainer ({branch})"
    software = metadata.get("software")
    if software and isinstance(name := _json(software, {}).get("name"), str):
        return name
    if version := _first(metadata, "lorakit.version"):
        return f"lorakit {version}"
    return _first(metadata, "modelspec.implementation_version")


def _trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    text = _first(metadata, "modelspec.trigger_phrase", "ssmd_keywords") or ""
    words = (word.strip() for word in text.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _tags(text: str | None) -> tuple[tuple[str, int], ...]:
    """Sum the tag counts over the data sets of kohya's `{data set: {tag: count}}`."""
    counts: dict[str, int] = {}
    for group in _json(text, {}).values():
        for tag, count in group.items() if isinstance(group, dict) else ():
            if type(count) is int and 0 <= count <= _MAX_COUNT and (name := tag.strip()):
                counts[name] = counts.get(name, 0) + count
    # By count, and by name where that is the same.
    found = sorted(counts)
    found.sort(key=counts.__getitem__, reverse=True)
    return tuple((name, counts[name]) for name in found[:_MAX_TAGS])


def _hashes(metadata: Mapping[str, str]) -> tuple[str, ...]:
    found: Iterable[str | None] = (
        _first(metadata, "sshs_model_hash"),
        _first(metadata, "modelspec.hash_sha256"),
    )
    return tuple(dict.fromkeys(value.removeprefix("0x").lower() for value in found if value))


def _json(text: str | None, default: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else default
    except (ValueError, RecursionError):
        return default
    if text and "\\u" in text:
        # An escape can smuggle in half of a surrogate pair, which nothing prints or stores.
        whole = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
        found = json.loads(whole)
    return found if isinstance(found, dict) else default
