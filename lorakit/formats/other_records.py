"""SwarmUI's and InvokeAI's records of how a picture was made: JSON with the names of each program.

SwarmUI: docs/Image Metadata Format.md of its repository. InvokeAI: `core_metadata` in
invokeai/app/invocations/metadata.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lorakit.formats.generation import (
    Generation,
    StartImage,
    UsedAdapter,
    hex_hashes,
    model_name,
    real,
    text,
    unused_sampler,
    whole,
)
from lorakit.formats.infotext import split_tags


def swarm_generation(document: str) -> Generation | None:
    """What SwarmUI's `parameters` say; None for a text that is not SwarmUI's."""
    root = _object(document)
    params = root.get("sui_image_params")
    if not isinstance(params, dict):
        return None
    hashes = _swarm_hashes(root.get("sui_models"))
    names = _values(params.get("loras"))
    weights, encoders = _values(params.get("loraweights")), _values(params.get("loratencweights"))
    base = model_name(params.get("model"))
    prompt, tags = split_tags(text(params.get("prompt")))
    adapters = [
        UsedAdapter(
            model_name(name),
            hashes.get(model_name(name), ()),
            _swarm_strength(_at(weights, number), _at(encoders, number)),
        )
        for number, name in enumerate(names)
    ] or [UsedAdapter(model_name(n), hashes.get(model_name(n), ()), a[1::-1]) for n, a in tags]
    left_out = list(unused_sampler(text(params.get("sampler")), text(params.get("scheduler"))))
    left_out += _present(
        params,
        {"initimage": "the starting image (give it with --image)"}
        | {"refinermethod": "the refiner", "controlnetmodel": "ControlNet"},
    )
    return Generation(
        program="SwarmUI",
        prompt=prompt,
        negative_prompt=split_tags(text(params.get("negativeprompt")))[0],
        steps=whole(params.get("steps")),
        cfg=real(params.get("cfgscale")),
        seed=whole(params.get("seed")),
        width=whole(params.get("width")),
        height=whole(params.get("height")),
        shift=real(params.get("sigmashift")),
        denoise=real(params.get("initimagecreativity")),
        base_name=base,
        base_hash=next(iter(hashes.get(base, ())), ""),
        adapters=tuple(adapters),
        left_out=tuple(left_out),
    )


def invoke_generation(document: str) -> Generation | None:
    """What InvokeAI's `invokeai_metadata` says; None for a text that is not InvokeAI's."""
    root = _object(document)
    if not {"positive_prompt", "generation_mode", "app_version"} & root.keys():
        return None
    model = _invoke_model(root.get("model"))
    loras = root.get("loras")
    listed = (
        [entry for entry in loras if isinstance(entry, dict)] if isinstance(loras, list) else []
    )
    start = text(root.get("init_image"))
    left_out = list(unused_sampler(text(root.get("scheduler")), ""))
    left_out += _present(
        root,
        {"hrf_enabled": "the second, larger pass (hires fix)", "controlnets": "ControlNet"}
        | {"ipAdapters": "the IP adapters", "t2iAdapters": "the T2I adapters"},
    )
    return Generation(
        program="InvokeAI",
        prompt=text(root.get("positive_prompt")),
        negative_prompt=text(root.get("negative_prompt")),
        steps=whole(root.get("steps")),
        cfg=real(root.get("cfg_scale")),
        seed=whole(root.get("seed")),
        width=whole(root.get("width")),
        height=whole(root.get("height")),
        denoise=real(root.get("strength")),
        base_name=model[0],
        base_hash=next(iter(model[1]), ""),
        adapters=tuple(map(_invoke_adapter, listed)),
        start_image=StartImage(start) if start else None,
        left_out=tuple(left_out),
    )


def _invoke_adapter(entry: Mapping[str, Any]) -> UsedAdapter:
    name, hashes = _invoke_model(entry.get("model", entry.get("lora")))
    weight = real(entry.get("weight"))
    return UsedAdapter(name, hashes, () if weight is None else (f"{weight!r}",))


def _invoke_model(model: object) -> tuple[str, tuple[str, ...]]:
    """Name and hashes; InvokeAI's usual hash is BLAKE3, which is not known here, so it is left out."""
    if not isinstance(model, dict):
        return model_name(model), ()
    name = model_name(model.get("name", model.get("model_name")))
    return name, hex_hashes(model.get("hash"))


def _swarm_hashes(models: object) -> dict[str, tuple[str, ...]]:
    listed = models if isinstance(models, list) else []
    return {
        model_name(entry.get("name")): hex_hashes(entry.get("hash"))
        for entry in listed
        if isinstance(entry, dict)
    }


def _swarm_strength(model: object, encoder: object) -> tuple[str, ...]:
    unet, te = real(model), real(encoder)
    if unet is None:
        return ()
    return (f"{unet!r}",) if te is None or te == unet else (f"te={te!r}", f"unet={unet!r}")


def _values(listed: object) -> list[object]:
    """A list, or the items of a text with commas."""
    if isinstance(listed, str):
        return [item.strip() for item in listed.split(",") if item.strip()]
    return list(listed) if isinstance(listed, list) else []


def _at(values: list[object], number: int) -> object:
    return values[number] if number < len(values) else None


def _present(params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    found = [what for key, what in names.items() if params.get(key)]
    return [f"Not carried over: {', '.join(found)}."] if found else []


def _object(document: str) -> Mapping[str, Any]:
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
