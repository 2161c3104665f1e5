"""What A1111's text, as it, Forge, LoRA Manager and lorakit write it, says of how a picture was made.

lorakit writes under `lorakit` what tags cannot say. It holds while the tag is the one that was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lorakit.formats.generation import (
    Generation,
    UsedAdapter,
    hex_hashes,
    model_name,
    real,
    unused_sampler,
    whole,
)
from lorakit.formats.infotext import OWN_KEY, folded_name, read_infotext, split_tags
from lorakit.formats.own_record import own_adapter, rows, table

_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_CARRIED = {
    "Steps",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "Model hash",
    "Lora hashes",
    "Hashes",
    "Civitai resources",
    "Civitai metadata",
    "Version",
    "Shift",
    "Denoising strength",
    "RNG",
    "Created Date",
    OWN_KEY,
    "Template",
    "Negative Template",
    "User",
}


def a1111_generation(text: str) -> Generation:
    """What the text says of how its picture was made."""
    info = read_infotext(text)
    settings = info.settings
    prompt, tags = split_tags(info.prompt)
    size = _SIZE.fullmatch(settings.get("Size", ""))
    hashes = _adapter_hashes(settings)
    version = settings.get("Version", "")
    if version.startswith("ComfyUI"):
        # LoRA Manager's own tags put the model's strength before the text encoder's.
        tags = tuple((name, _reversed(arguments)) for name, arguments in tags)
    adapters = tuple(
        UsedAdapter(model_name(name), hashes.get(_folded(name), ()), arguments)
        for name, arguments in tags
    )
    # What has a hash and no tag was loaded by a node; its strength is in Civitai's list, or nowhere.
    tagged = {_folded(name) for name, _ in tags}
    loaded = [(name, digests) for name, digests in hashes.items() if name not in tagged]
    weights = _resource_weights(settings, len(loaded))
    adapters += tuple(
        UsedAdapter(name, digests, weight)
        for (name, digests), weight in zip(loaded, weights, strict=True)
    )
    own = _json_object(settings.get(OWN_KEY))
    adapters = tuple(_as_stated(adapter, rows(own.get("entries"))) for adapter in adapters)
    return Generation(
        program=_program(version),
        prompt=prompt,
        negative_prompt=split_tags(info.negative_prompt)[0],
        steps=whole(settings.get("Steps")),
        cfg=real(settings.get("CFG scale")),
        seed=whole(settings.get("Seed")),
        width=int(size[1]) if size else None,
        height=int(size[2]) if size else None,
        shift=real(settings.get("Shift")),
        denoise=None if _is_hires(settings) else real(settings.get("Denoising strength")),
        base_name=model_name(settings.get("Model")),
        base_hash=next(iter(_base_hashes(settings)), ""),
        adapters=adapters,
        left_out=_left_out(settings),
    )


def completed_by(generation: Generation, graph: Generation) -> Generation:
    """`generation` with the adapters and strengths that only `graph`, of the same picture, states."""
    if not generation.adapters:
        return replace(generation, adapters=graph.adapters)
    known = {_folded(adapter.name): adapter.arguments for adapter in graph.adapters}
    return replace(
        generation,
        adapters=tuple(
            replace(a, arguments=a.arguments or known.get(_folded(a.name), ()))
            for a in generation.adapters
        ),
    )


def _as_stated(adapter: UsedAdapter, entries: list[Any]) -> UsedAdapter:
    """`adapter` with what lorakit wrote beside its tag, as far as nobody has changed the tag since."""
    for entry in map(table, entries):
        own = own_adapter(entry)
        if _folded(own.name) == _folded(adapter.name) and adapter.arguments == tuple(
            map(str, rows(entry.get("tag")))
        ):
            return replace(adapter, hashes=own.hashes, strength=own.strength)
    return adapter


def _adapter_hashes(settings: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Hashes by name in the form of `_folded`."""
    found: dict[str, tuple[str, ...]] = {}
    for key, value in _json_object(settings.get("Hashes")).items():
        kind, _, name = key.partition(":")
        if kind.lower() in ("lora", "lyco", "lycoris") and name:
            found[_folded(name)] = hex_hashes(value)
    for pair in settings.get("Lora hashes", "").split(","):
        name, _, digest = pair.rpartition(":")
        if name.strip():
            key = _folded(name)
            found[key] = tuple(dict.fromkeys([*found.get(key, ()), *hex_hashes(digest)]))
    return found


def _base_hashes(settings: Mapping[str, str]) -> tuple[str, ...]:
    other = _json_object(settings.get("Hashes")).get("model")
    return hex_hashes(settings.get("Model hash"), other)


def _resource_weights(settings: Mapping[str, str], count: int) -> list[tuple[str, ...]]:
    """The strengths in Civitai's list, when it has one for each of the `count` adapters."""
    try:
        listed = json.loads(settings.get("Civitai resources", "[]"))
    except (ValueError, RecursionError):
        listed = []
    entries = listed if isinstance(listed, list) else []
    found = [real(entry.get("weight")) for entry in entries if isinstance(entry, dict)]
    weights = [weight for weight in found if weight is not None]
    return [(f"{w!r}",) for w in weights] if len(weights) == count else [()] * count


def _json_object(text: str | None) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _folded(name: str) -> str:
    return folded_name(model_name(name))


def _reversed(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return arguments[1::-1] + arguments[2:]


def _program(version: str) -> str:
    if version.startswith("lorakit"):
        return "lorakit"
    if version.startswith("ComfyUI"):
        return "LoRA Manager for ComfyUI"
    # Forge's versions begin with an f, or name it.
    forge = version.startswith("f") or version.lower().startswith(("neo", "classic", "reforge"))
    return "Forge" if forge else "A1111"


def _is_hires(settings: Mapping[str, str]) -> bool:
    return any(key.startswith("Hires ") for key in settings)


def _left_out(settings: Mapping[str, str]) -> tuple[str, ...]:
    found = list(unused_sampler(settings.get("Sampler", ""), settings.get("Schedule type", "")))
    if _is_hires(settings):
        found.append(
            "The second, larger pass (hires fix) is not carried over; --image with --denoise makes one."
        )
    others = [
        key
        for key in settings
        if key not in _CARRIED
        and key not in ("Sampler", "Schedule type")
        and not key.startswith(("Hires ", "Module ", "Civitai ", "Lora "))
    ]
    if others:
        found.append(f"Not carried over: {', '.join(others)}.")
    return tuple(found)
