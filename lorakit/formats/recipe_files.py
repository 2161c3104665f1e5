"""What any program's text says of how a picture was or is to be made: of a picture, or of a recipe file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorakit.errors import BadFile, NotFound
from lorakit.formats.a1111 import a1111_generation, completed_by
from lorakit.formats.comfyui import comfy_generation, comfy_loaders
from lorakit.formats.generation import Generation
from lorakit.formats.infotext import read_infotext
from lorakit.formats.lora_manager import manager_generation, recipe_in_comment
from lorakit.formats.other_records import invoke_generation, swarm_generation
from lorakit.formats.own_record import own_generation, table

_MOST_BYTES = 32 * 2**20
_KNOWN = (
    "lorakit reads ComfyUI workflows, LoRA Manager recipes, and A1111's text with <lora:...> tags or "
    "hashes; and its own stack files, which end in .toml."
)


def read_recipe(path: Path) -> Generation:
    """What the recipe file at `path` says, whichever program wrote it.

    Raises `NotFound` when there is none, and `BadFile` for one that cannot be read or is none.
    """
    document = _text_of(path)
    try:
        root = json.loads(document, parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        if path.suffix.lower() == ".json":
            raise BadFile(f"{path} is not valid JSON: {error}.", hint=_KNOWN) from error
        found = _from_text(document)
    else:
        found = own_generation(root, str(path)) or manager_generation(root) or _from_json(root)
    if found is None:
        raise BadFile(f"{path} is no recipe that lorakit knows.", hint=_KNOWN)
    return found


def texts_generation(texts: Mapping[str, str]) -> Generation | None:
    """What the texts of a picture say, by keyword; None where they say nothing."""
    parameters = texts.get("parameters", "")
    graph = comfy_generation(texts.get("prompt") or parameters, texts.get("workflow"))
    found = (
        swarm_generation(parameters)
        or invoke_generation(texts.get("invokeai_metadata", ""))
        or recipe_in_comment(parameters)
    )
    if found is not None:
        return found
    if read_infotext(parameters).settings:
        # ComfyUI's savers leave to the graph what their text does not say.
        stated = a1111_generation(parameters)
        return stated if graph is None else completed_by(stated, graph)
    return graph


def _from_json(root: Any) -> Generation | None:  # noqa: ANN401 (parsed JSON)
    """A graph, on its own or as it is sent to ComfyUI; or another program's record."""
    document = json.dumps(root)
    sent = table(root)
    executed = sent.get("prompt") if isinstance(sent.get("prompt"), dict) else root
    workflow = table(table(sent.get("extra_data")).get("extra_pnginfo")).get("workflow", root)
    graphs = json.dumps(executed), json.dumps(workflow)
    return (
        comfy_generation(*graphs)
        or swarm_generation(document)
        or invoke_generation(document)
        or comfy_loaders(*graphs)
    )


def _from_text(document: str) -> Generation | None:
    """A1111's text. Any text is one, so it must name an adapter or hold settings."""
    found = a1111_generation(document)
    return found if found.adapters or read_infotext(document).settings else None


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadFile(f"{path} is too large to be a recipe.", hint=_KNOWN)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not text in UTF-8.", hint=_KNOWN) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFile(f"{path} cannot be read: {reason}.") from error
