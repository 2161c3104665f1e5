"""LoRA Manager's recipes: `ID.recipe.json`, and the same in the comment of the recipe's picture.

Fields after py/services/recipes/persistence_service.py of willmiao/ComfyUI-Lora-Manager. Of an entry it
knows no more than one strength; what lorakit wrote beside it, under `lorakit`, holds while that strength
is still the one that was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lorakit.formats.generation import (
    Generation,
    UsedAdapter,
    hex_hashes,
    model_name,
    real,
    text,
    unused_sampler,
    whole,
)
from lorakit.formats.infotext import split_tags
from lorakit.formats.own_record import rows, same_number, table

_MARK = "Recipe metadata:"
_SIZE = re.compile(r"(\d{1,6})\s*[x×]\s*(\d{1,6})")


def recipe_in_comment(comment: str) -> Generation | None:
    """The recipe that stands in a picture's comment; None where there is none."""
    _, mark, rest = comment.partition(_MARK)
    if not mark:
        return None
    try:
        document, _ = json.JSONDecoder().raw_decode(rest.strip())
    except (ValueError, RecursionError):
        return None
    return manager_generation(document)


def manager_generation(root: object) -> Generation | None:
    """What the recipe `root`, parsed JSON, says; None for what is no recipe of LoRA Manager's."""
    recipe = table(root)
    if not isinstance(recipe.get("loras"), list) or not {"gen_params", "title"} & recipe.keys():
        return None
    params = table(recipe.get("gen_params"))
    size = _SIZE.fullmatch(text(params.get("size")))
    base = _base(recipe.get("checkpoint"))
    own = table(table(recipe.get("checkpoint")).get("lorakit"))
    return Generation(
        program="LoRA Manager",
        prompt=split_tags(text(params.get("prompt")))[0],
        negative_prompt=split_tags(text(params.get("negative_prompt")))[0],
        steps=whole(params.get("steps")),
        cfg=real(params.get("cfg_scale")),
        seed=whole(params.get("seed")),
        width=int(size[1]) if size else None,
        height=int(size[2]) if size else None,
        shift=real(own.get("shift")),
        base_name=base.name,
        base_hash=next(iter(base.hashes), ""),
        base_tensors=next(iter(hex_hashes(own.get("tensor_sha256"))), ""),
        adapters=tuple(_adapter(entry) for entry in map(table, rows(recipe["loras"])) if entry),
        left_out=unused_sampler(text(params.get("sampler")), ""),
    )


def _adapter(entry: Mapping[str, Any]) -> UsedAdapter:
    own, strength = table(entry.get("lorakit")), real(entry.get("strength", entry.get("weight")))
    hashes = hex_hashes(entry.get("hash"))
    # LoRA Manager may have put another file in the entry's place.
    same_file = not hashes or hashes == hex_hashes(own.get("sha256"))
    return UsedAdapter(
        model_name(entry.get("file_name")) or text(entry.get("modelName")),
        hashes + (hex_hashes(own.get("tensor_sha256")) if same_file else ()),
        () if strength is None else (f"{strength!r}",),
        (text(own.get("strength")) or None) if same_number(strength, own.get("plain")) else None,
    )


def _base(checkpoint: object) -> UsedAdapter:
    """The checkpoint, which older recipes name by text alone."""
    if isinstance(checkpoint, str):
        return UsedAdapter(model_name(checkpoint))
    found = table(checkpoint)
    name = model_name(found.get("file_name")) or model_name(found.get("name"))
    return UsedAdapter(name, hex_hashes(found.get("hash")))
