"""Saved answers of Civitai: `X.civitai.info` (about a version), `X.api_info.json` (about a model).

The first is written by Civitai Helper, SD.Next and others: the body of `GET /api/v1/model-versions/...`.
The second, by sd-civitai-browser-plus, has the versions of a model in a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lorakit.formats.own_record import rows, table
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.said import SidecarFacts

_KNOWN = (
    "baseModel",
    "creator",
    "description",
    "files",
    "id",
    "model",
    "modelId",
    "name",
    "tags",
    "trainedWords",
)


def version_facts(document: Mapping[str, Any], place: str, source: str) -> SidecarFacts:
    """What an answer about a version says."""
    model = table(document.get("model"))
    creator = table(document.get("creator")) or table(model.get("creator"))
    fields = {
        "title": values.line(model.get("name")),
        "description": values.prose(document.get("description"))
        or values.prose(model.get("description")),
        "trigger_words": values.words(document.get("trainedWords")),
        "base_model": values.known_line(document.get("baseModel")),
        "author": values.line(creator.get("username")),
        "page": values.page(document.get("modelId"), document.get("id")),
        "nsfw": values.flag(model.get("nsfw")),
    }
    tags = model.get("tags", document.get("tags"))
    return SidecarFacts(
        source,
        place,
        values.given(fields),
        None if tags is None else values.tags(tags),
        tuple(file_hashes(document)),
        values.rest(document, _KNOWN),
    )


def model_facts(
    document: Mapping[str, Any], place: str, source: str, hashes: frozenset[str] = frozenset()
) -> SidecarFacts:
    """What an answer about a model says of the version whose file has one of `hashes`.

    Without such a version, only what holds of all of them.
    """
    versions = [table(version) for version in rows(document.get("modelVersions"))]
    fitting = next((one for one in versions if hashes & {*file_hashes(one)}), {})
    if not fitting and len(versions) == 1:
        fitting = versions[0]
    fields = {
        "title": values.line(document.get("name")),
        "description": values.prose(document.get("description")),
        "trigger_words": values.words(fitting.get("trainedWords")),
        "base_model": values.known_line(fitting.get("baseModel")),
        "author": values.line(table(document.get("creator")).get("username")),
        "page": values.page(document.get("id"), fitting.get("id")),
        "nsfw": values.flag(document.get("nsfw")),
    }
    return SidecarFacts(
        source,
        place,
        values.given(fields),
        values.tags(document.get("tags")),
        tuple(dict.fromkeys(h for version in versions for h in file_hashes(version))),
        values.rest(document, _KNOWN),
    )


def file_hashes(version: Mapping[str, Any]) -> Iterator[str]:
    """The SHA-256 hashes, of files and of tensors, that a version's record lists."""
    for file in rows(version.get("files")):
        hashes = table(table(file).get("hashes"))
        yield from values.sha256(hashes.get("SHA256"), hashes.get("AutoV3"))
