"""The files of other programs beside a model, as they write them, each with values of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


def lora_manager(stem: str, sha256: str) -> dict[str, Any]:
    return {
        "file_name": stem,
        "model_name": "Ink by LoRA Manager",
        "file_path": f"/models/loras/{stem}.safetensors",
        "size": 1000,
        "modified": 1750000000.5,
        "sha256": sha256,
        "base_model": "Anima",
        "preview_url": f"/models/loras/{stem}.preview.png",
        "notes": "LM notes",
        "favorite": True,
        "tags": ["ink", "style"],
        "modelDescription": "<p>Black <b>ink</b> &amp; water</p><ul><li>one</li></ul>",
        "usage_tips": '{"strength_min": 0.5, "strength_max": 0.9, "strength": 0.7}',
        "civitai": {
            "id": 6,
            "modelId": 77,
            "trainedWords": ["inkstyle", "sumi"],
            "creator": {"username": "inker"},
            "model": {"name": "Ink", "nsfw": False},
        },
        "hash_status": "completed",
    }


def a1111() -> dict[str, Any]:
    return {
        "description": "A1111 description",
        "sd version": "Unknown",
        "activation text": "ink wash, brush",
        "preferred weight": 0.6,
        "negative text": "photo",
        "notes": "A1111 notes",
    }


def civitai_info(sha256: str) -> dict[str, Any]:
    return {
        "id": 6,
        "modelId": 77,
        "name": "v2",
        "baseModel": "Anima",
        "description": "<p>Second version</p>",
        "trainedWords": ["civitaiword"],
        "model": {"name": "Ink by Civitai", "type": "LORA", "nsfw": True, "poi": False},
        "files": [{"name": "ink.safetensors", "hashes": {"SHA256": sha256.upper()}}],
        "extensions": {"sd_civitai_helper": {"version": "1.8"}},
    }


def cm_info(sha256: str) -> dict[str, Any]:
    return {
        "ModelId": 77,
        "ModelName": "Ink by Stability Matrix",
        "ModelDescription": "SM description",
        "Nsfw": False,
        "Tags": ["monochrome", "style"],
        "VersionId": 6,
        "AuthorUsername": "sm-author",
        "BaseModel": "Anima",
        "Hashes": {"SHA256": sha256.upper()},
        "TrainedWords": ["smword"],
        "UserTitle": None,
    }


def swarm() -> dict[str, Any]:
    return {
        "modelspec.title": "Ink by SwarmUI",
        "modelspec.author": "swarm-author",
        "modelspec.description": "Swarm description",
        "modelspec.trigger_phrase": "swarmword",
        "modelspec.tags": "brush, style",
        "modelspec.lora_default_weight": "0.4",
        "modelspec.usage_hint": "",
    }


def rgthree(sha256: str) -> dict[str, Any]:
    return {
        "file": "ink.safetensors",
        "name": "Ink by rgthree",
        "baseModel": "Anima",
        "sha256": sha256,
        "userNote": "rgthree note",
        "strengthMin": 0.2,
        "strengthMax": 0.6,
        "trainedWords": [
            {"word": "rgword", "civitai": True},
            {"word": "1girl", "count": 90, "metadata": True},
        ],
        "links": [
            "https://civitai.com/models/77?modelVersionId=6",
            "https://civitai.com/api/v1/model-versions/by-hash/AA",
        ],
    }


def write_all(model: Path, sha256: str) -> dict[str, Path]:
    """Every kind at once beside `model`, by ending."""
    stem = model.stem
    documents: Mapping[str, Any] = {
        ".metadata.json": lora_manager(stem, sha256),
        ".json": a1111(),
        ".civitai.info": civitai_info(sha256),
        ".cm-info.json": cm_info(sha256),
        ".swarm.json": swarm(),
        ".safetensors.rgthree-info.json": rgthree(sha256),
    }
    paths = {ending: model.with_name(stem + ending) for ending in documents}
    for ending, document in documents.items():
        paths[ending].write_text(json.dumps(document, indent=2), encoding="utf-8")
    for ending, text in {".txt": "Text description", ".sha256": f"{sha256}\n"}.items():
        paths[ending] = model.with_name(stem + ending)
        paths[ending].write_text(text, encoding="utf-8")
    for ending in (".preview.png", ".webp"):
        paths[ending] = model.with_name(stem + ending)
        paths[ending].write_bytes(PNG)
    return paths
