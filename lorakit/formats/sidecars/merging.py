"""What is known of a model, put into another program's record of it: merged, nothing else touched.

A word that goes first, as a person's does, is put in place of the record's own; others only fill what is
empty. Keys that mean nothing here stay as they are, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorakit.formats.generation import real
from lorakit.formats.own_record import table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.lora_manager import read_tips

# What programs call this model's family, where they know it.
_FAMILY = "Anima"
_A1111: Mapping[str, Any] = {
    "description": "",
    "sd version": "Unknown",
    "activation text": "",
    "preferred weight": 0.0,
    "negative text": "",
    "notes": "",
}
_STRENGTHS = (("strength", "value"), ("strength_min", "min"), ("strength_max", "max"))


@dataclass(frozen=True, slots=True)
class Word:
    """A value of a field, and whether it goes before what the record says."""

    value: Any
    first: bool


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The model that a record is of: stem, path from the root, bytes, seconds since 1970, SHA-256."""

    stem: str
    path: str
    size: int
    modified: float
    sha256: str


Words = Mapping[str, Word]
Merge = Callable[[Mapping[str, Any], Words, Sequence[str], ModelFile], dict[str, Any]]


def merge_a1111(
    document: Mapping[str, Any], words: Words, tags: Sequence[str], model: ModelFile
) -> dict[str, Any]:
    """A1111's `X.json`, a new one with all of its keys; it has no place for tags, title and author."""
    found = dict(document or _A1111)
    _put(found, "description", words.get("description"))
    _put(found, "activation text", _joined(words.get("trigger_words")))
    _put(found, "preferred weight", _part(words.get("strength"), "value"))
    _put(found, "notes", words.get("notes"))
    return dict(document) if found == _A1111 else found


def merge_civitai_helper(
    document: Mapping[str, Any], words: Words, tags: Sequence[str], model: ModelFile
) -> dict[str, Any]:
    """Civitai Helper's `X.civitai.info`, the saved answer about a version of a model.

    A new one is what that program makes of a file that Civitai does not know, with its hash. There is no
    place for notes and strengths, which it keeps in A1111's `X.json`.
    """
    found = dict(document or _unknown_to_civitai(model))
    _put(found, "description", words.get("description"))
    _put(found, "trainedWords", words.get("trigger_words"))
    if values.known_line(found.get("baseModel")) is None:
        found["baseModel"] = _FAMILY
    about = dict(table(found.get("model")))
    if about.get("name") == model.stem:
        # Its own word for a model without a name.
        about["name"] = ""
    _put(about, "name", words.get("title"))
    about["name"] = about.get("name") or model.stem
    _put(about, "nsfw", words.get("nsfw"))
    if "tags" in about:
        _put_tags(about, "tags", tags)
    elif tags:
        _put_tags(found, "tags", tags)
    if about != table(found.get("model")):
        found["model"] = about
    author = words.get("author")
    if author is not None and not table(found.get("creator")).get("username"):
        found["creator"] = {**table(found.get("creator")), "username": author.value}
    return dict(document) if found == _unknown_to_civitai(model) else found


def _unknown_to_civitai(model: ModelFile) -> dict[str, Any]:
    return {
        "id": "",
        "modelId": "",
        "name": model.stem,
        "trainedWords": [],
        "baseModel": _FAMILY,
        "description": "",
        "model": {"name": model.stem, "type": "LORA", "nsfw": "", "poi": ""},
        "files": [
            {
                "name": model.path.replace("\\", "/").rpartition("/")[2],
                "sizeKB": round(model.size / 1024),
                "type": "Model",
                "hashes": {"SHA256": model.sha256.upper()},
            }
        ],
        "tags": [],
        "downloadUrl": "",
        "extensions": {"sd_civitai_helper": {"skeleton_file": True}},
    }


def merge_lora_manager(
    document: Mapping[str, Any], words: Words, tags: Sequence[str], model: ModelFile
) -> dict[str, Any]:
    """LoRA Manager's `X.metadata.json`, with the keys without which it would pass the model over."""
    required = {
        "file_name": model.stem,
        "model_name": model.stem,
        "file_path": model.path.replace("\\", "/"),
        "size": model.size,
        "modified": model.modified,
        "sha256": model.sha256,
        "base_model": _FAMILY,
    }
    found = {**document, **{key: v for key, v in required.items() if key not in document}}
    if values.known_line(found["base_model"]) is None:
        found["base_model"] = _FAMILY
    if found["model_name"] == model.stem:
        # Its own word for a model without a name.
        found["model_name"] = ""
    _put(found, "model_name", words.get("title"))
    found["model_name"] = found["model_name"] or model.stem
    _put(found, "notes", words.get("notes"))
    _put(found, "modelDescription", words.get("description"))
    _put(found, "favorite", words.get("favourite"))
    _put_tags(found, "tags", tags)
    _put_tips(found, words.get("strength"))
    civitai = dict(table(found.get("civitai")))
    _put(civitai, "trainedWords", words.get("trigger_words"))
    if civitai:
        found["civitai"] = civitai
    return found


def merge_swarmui(
    document: Mapping[str, Any], words: Words, tags: Sequence[str], model: ModelFile
) -> dict[str, Any]:
    """SwarmUI's `X.swarm.json`; keys without the prefix `modelspec.` are used where they are there."""
    found = dict(document)

    def key(name: str) -> str:
        return name if name in found else f"modelspec.{name}"

    _put(found, key("title"), words.get("title"))
    _put(found, key("author"), words.get("author"))
    _put(found, key("description"), words.get("description"))
    _put(found, key("usage_hint"), words.get("notes"))
    _put(found, key("trigger_phrase"), _joined(words.get("trigger_words")))
    strength = _part(words.get("strength"), "value")
    if strength is not None and real(found.get(key("lora_default_weight"))) != strength.value:
        text = Word(f"{strength.value:g}", strength.first)
        _put(found, key("lora_default_weight"), text)
    listed = found.get(key("tags"))
    if isinstance(listed, list):
        _put_tags(found, key("tags"), tags)
    elif _new_tags(values.tags(listed), tags):
        found[key("tags")] = ", ".join(
            (*values.tags(listed), *_new_tags(values.tags(listed), tags))
        )
    return found


def _put(document: dict[str, Any], key: str, word: Word | None) -> None:
    if word is not None and (word.first or _is_empty(document.get(key))):
        old = document.get(key)
        # 1 and 1.0 are the same number, and the program's way of writing it stays.
        if old != word.value or isinstance(old, bool) != isinstance(word.value, bool):
            document[key] = word.value


def _is_empty(value: object) -> bool:
    return not value or (isinstance(value, str) and not value.strip())


def _joined(word: Word | None) -> Word | None:
    return word and Word(", ".join(word.value), word.first)


def _part(word: Word | None, name: str) -> Word | None:
    return word and Word(word.value[name], word.first)


def _put_tags(document: dict[str, Any], key: str, tags: Sequence[str]) -> None:
    own = document.get(key)
    listed = own if isinstance(own, list) else []
    new = _new_tags([tag for tag in listed if isinstance(tag, str)], tags)
    if new:
        document[key] = [*listed, *new]


def _new_tags(own: Sequence[str], tags: Sequence[str]) -> list[str]:
    there = {tag.strip().casefold() for tag in own}
    return [tag for tag in tags if tag.casefold() not in there]


def _put_tips(document: dict[str, Any], word: Word | None) -> None:
    if word is None:
        return
    old = read_tips(document.get("usage_tips"))
    if not word.first and any(old.get(name) is not None for name, _ in _STRENGTHS):
        return
    new = {name: value for name, value in old.items() if name not in dict(_STRENGTHS)}
    said = {name: word.value[part] for name, part in _STRENGTHS if word.value[part] is not None}
    new = {**{name: said.get(name, value) for name, value in old.items() if name in said}, **new}
    new |= said
    if new != old:
        # The text of an object, as the program itself keeps it.
        document["usage_tips"] = json.dumps(new, ensure_ascii=False)
