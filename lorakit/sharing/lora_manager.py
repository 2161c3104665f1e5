"""A stack as a recipe of LoRA Manager for ComfyUI (`NAME.recipe.json`).

Fields after py/services/recipes/persistence_service.py and recipe_scanner.py of
willmiao/ComfyUI-Lora-Manager: `id`, `file_path` and `title` are required, and the file must be called
`ID.recipe.json`. Its cache keeps no field at the top that it does not know, but all of an entry's and of
the checkpoint's: so lorakit's own words stand there.
"""

from __future__ import annotations

import json
from typing import Any

from lorakit.sharing.shared import Settings, SharedEntry, SharedStack, plain_strength
from lorakit.strengths.text import number

SUFFIX = ".recipe.json"


def lora_manager_text(shared: SharedStack, identity: str, now: float) -> tuple[str, list[str]]:
    """The recipe called `identity`, made at `now` (seconds since 1970), and what LoRA Manager lacks of it."""
    settings = shared.settings or Settings()
    base = shared.base
    loras = [_entry(entry) for entry in shared.entries]
    recipe = {
        "id": identity,
        # Where its picture would be; there is none.
        "file_path": "",
        "title": _title(shared),
        "modified": now,
        "created_date": now,
        "base_model": "Anima",
        "loras": loras,
        "gen_params": {
            "prompt": settings.prompt,
            "negative_prompt": settings.negative_prompt,
            "steps": settings.steps,
            "sampler": "euler",
            "cfg_scale": settings.cfg,
            "seed": settings.seed,
            "size": f"{settings.width}x{settings.height}",
        },
        "fingerprint": fingerprint(loras),
        "has_workflow": False,
        "checkpoint": {
            "type": "checkpoint",
            "name": base.name,
            "file_name": base.path.stem,
            "hash": base.sha256,
            "baseModel": "Anima",
            "lorakit": {"tensor_sha256": base.tensor_sha256, "shift": settings.shift},
        },
        "folder": "",
    }
    lost = [sentence for entry in shared.entries for sentence in _lost(entry)]
    if settings.shift != 3.0:
        lost.append(
            f"LoRA Manager's recipes have no shift; {number(settings.shift)} is kept for lorakit."
        )
    return json.dumps(recipe, indent=4, ensure_ascii=False) + "\n", lost


def fingerprint(loras: list[dict[str, Any]]) -> str:
    """What LoRA Manager tells equal recipes by: hashes in order, each with its strength to two decimals."""
    known = sorted((lora["hash"], round(float(lora["strength"]), 2)) for lora in loras)
    return "|".join(f"{digest}:{strength}" for digest, strength in known)


def _entry(entry: SharedEntry) -> dict[str, Any]:
    strength = plain_strength(entry).model
    return {
        "file_name": entry.path.stem,
        "hash": entry.sha256,
        "strength": strength,
        "modelVersionId": 0,
        "modelName": entry.name,
        "modelVersionName": "",
        "isDeleted": False,
        "exclude": False,
        "lorakit": {
            "strength": str(entry.strength),
            "plain": strength,
            "sha256": entry.sha256,
            "tensor_sha256": entry.tensor_sha256,
        },
    }


def _lost(entry: SharedEntry) -> list[str]:
    plain = plain_strength(entry)
    same = not entry.has_text_encoder or plain.clip == plain.model
    if plain.exact and same:
        return []
    return [
        f"LoRA Manager applies {entry.name} at {number(plain.model)} throughout: it has one number for an "
        f"adapter. {entry.strength} is kept for lorakit."
    ]


def _title(shared: SharedStack) -> str:
    found = [f"{e.name} {number(plain_strength(e).model)}" for e in shared.entries]
    return f"{', '.join(found) or 'no adapter'} on {shared.base.name}"
