"""Write plain LoRA modules as an adapter file, in the key layout of a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lorakit import __version__
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.tensor_file import write_tensors
from lorakit.formats.layouts import WritableLayout, module_prefix


def save_lora(
    path: Path,
    modules: Mapping[str, LoraModule],
    *,
    layout: WritableLayout,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `modules` (canonical names) to `path` in `layout`, factors in the dtype they have.

    kohya keeps the scale as `.alpha`. The others have no place for it that every reader looks into, so
    there it is multiplied into up.
    """
    tensors: dict[str, torch.Tensor] = {}
    kohya = layout == "kohya"
    down_name, up_name = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    for name, module in modules.items():
        prefix = module_prefix(name, layout)
        up = module.up if kohya else (module.up.float() * module.scale).to(module.up.dtype)
        tensors[f"{prefix}.{down_name}.weight"] = module.down
        tensors[f"{prefix}.{up_name}.weight"] = up
        if kohya:
            tensors[f"{prefix}.alpha"] = torch.tensor(module.scale * module.down.shape[0])
    notes = {"format": "pt", "lorakit.version": __version__, **(metadata or {})}
    write_tensors(path, tensors, notes)
