"""lorakit's own record of what something was made from: in its pictures, and in the recipes it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorakit.errors import BadFile
from lorakit.formats.generation import (
    Generation,
    StartImage,
    UsedAdapter,
    hex_hashes,
    real,
    text,
    whole,
)

PICTURE = "lorakit/picture/1"
RECIPE = "lorakit/recipe/1"
_OURS = re.compile("lorakit/(?:picture|recipe)/")


def own_generation(root: object, label: str) -> Generation | None:
    """What the record `root`, parsed JSON, says; None for what is none, or older than the first schema.

    Raises `BadFile`, which calls it `label`, for the record of a newer lorakit.
    """
    schema = root.get("schema") if isinstance(root, dict) else None
    if not isinstance(root, dict) or not isinstance(schema, str) or not _OURS.match(schema):
        return None
    if schema not in (PICTURE, RECIPE):
        raise BadFile(
            f"{label} was made by another version of lorakit: its record is {schema[:40]}, and this "
            f"one reads {PICTURE} and {RECIPE}.",
            hint="Update lorakit: pip install --upgrade lorakit",
        )
    return _generation(root)


def own_adapter(entry: object) -> UsedAdapter:
    """One adapter as a record states it."""
    found = table(entry)
    return UsedAdapter(
        text(found.get("name")),
        hex_hashes(found.get("sha256"), found.get("tensor_sha256")),
        strength=text(found.get("strength_text")) or None,
    )


def same_number(stated: object, written: object) -> bool:
    """Whether a strength is still the one that lorakit wrote: editors round to two decimals."""
    one, other = real(stated), real(written)
    return one == other or (one is not None and other is not None and abs(one - other) <= 0.005)


def table(value: object) -> dict[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Any]:
    """`value` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _generation(root: Mapping[str, Any]) -> Generation:
    settings, base = table(root.get("settings")), table(root.get("base"))
    start = table(settings.get("image"))
    places = {key: text(root.get(key)) for key in ("device", "dtype") if root.get(key)}
    if isinstance(root.get("compiled"), bool):
        places["compiled"] = "yes" if root["compiled"] else "no"
    if root.get("schema") == PICTURE:
        places["saving"] = ", ".join(map(text, rows(root.get("saving"))))
    versions = {key: text(value) for key, value in table(root.get("versions")).items()}
    return Generation(
        program="lorakit",
        prompt=text(settings.get("prompt")),
        negative_prompt=text(settings.get("negative_prompt")),
        steps=whole(settings.get("steps")),
        cfg=real(settings.get("cfg")),
        seed=whole(settings.get("seed")),
        width=whole(settings.get("width")),
        height=whole(settings.get("height")),
        shift=real(settings.get("shift")),
        denoise=real(settings.get("denoise")) if start else None,
        base_name=text(base.get("name")),
        base_hash=next(iter(hex_hashes(base.get("sha256"))), ""),
        base_tensors=next(iter(hex_hashes(base.get("tensor_sha256"))), ""),
        adapters=tuple(map(own_adapter, rows(root.get("entries")))),
        start_image=_start_image(start),
        environment={**versions, **places},
    )


def _start_image(start: Mapping[str, Any]) -> StartImage | None:
    # The name only: a folder in it would be another machine's.
    name = Path(text(start.get("name"))).name
    return StartImage(name, next(iter(hex_hashes(start.get("sha256"))), None)) if name else None
