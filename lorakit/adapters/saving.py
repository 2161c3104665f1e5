"""Write plain LoRA modules as an adapter file, in the key layout of a trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from lorakit import __version__
from lorakit.adapters.lora import LoraModule
from lorakit.formats.layouts import WritableLayout, module_prefix
from lorakit.formats.peft_config import METADATA_KEY


def save_lora(
    path: Path,
    modules: Mapping[str, LoraModule],
    *,
    layout: WritableLayout,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `modules` (canonical names) to `path` in `layout`, factors in the dtype they have.

    Each layout keeps the scale in its own way: kohya as `.alpha`, comfy multiplied into up, and
    diffusers, which takes one alpha for the file, in the header where all scales and ranks agree and
    multiplied into up where they do not.
    """
    tensors: dict[str, torch.Tensor] = {}
    notes = {"format": "pt", "lorakit.version": __version__, **(metadata or {})}
    alphas = {
        (module.scale * module.down.shape[0], module.down.shape[0]) for module in modules.values()
    }
    in_header = layout == "diffusers" and len(alphas) == 1
    if in_header:
        alpha, rank = alphas.pop()
        notes[METADATA_KEY] = json.dumps({"transformer.r": rank, "transformer.lora_alpha": alpha})
    down_name, up_name = ("lora_down", "lora_up") if layout == "kohya" else ("lora_A", "lora_B")
    for name, module in modules.items():
        prefix = module_prefix(name, layout)
        keeps_scale = layout == "kohya" or in_header
        up = module.up if keeps_scale else module.up * module.scale
        tensors[f"{prefix}.{down_name}.weight"] = module.down.contiguous()
        tensors[f"{prefix}.{up_name}.weight"] = up.contiguous()
        if layout == "kohya":
            tensors[f"{prefix}.alpha"] = torch.tensor(module.scale * module.down.shape[0])
    save_file(tensors, path, metadata=notes)
