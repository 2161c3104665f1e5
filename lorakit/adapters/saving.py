"""Write adapters as files in the key layout of a trainer: one from a file, or plain LoRA from memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from lorakit import __version__
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.pieces import pieces_in
from lorakit.adapters.respelling import carried, respell
from lorakit.adapters.tensor_file import write_tensors
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, Refused
from lorakit.formats.layouts import WRITABLE, WritableLayout, module_prefix
from lorakit.formats.peft_folder import CONFIG_NAME


def save_lora(
    path: Path,
    modules: Mapping[str, LoraModule],
    *,
    layout: WritableLayout,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `modules` (canonical names) to `path` in `layout`, factors in the dtype they have.

    kohya and LyCORIS keep the scale as `.alpha`. The others have no place for it that every reader looks into, so
    there it is multiplied into up.
    """
    tensors: dict[str, torch.Tensor] = {}
    kohya = layout in ("kohya", "lycoris")
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


def save_adapter(adapter: Adapter, path: Path, layout: WritableLayout) -> None:
    """Write the file of an adapter in `layout`, with its metadata; see `Adapter.save`."""
    if adapter.made_of:
        raise Refused(
            f"This adapter was made in memory from {counted_rows(len(adapter.made_of), 'file')}, whose licences were "
            "not asked.",
            hint="`lorakit merge ... -o FILE` and `lorakit resize` ask them, and write what they allow.",
        )
    if layout not in WRITABLE:
        raise BadUsage(
            f"There is no layout {layout!r} to write.", hint=f"Give {', '.join(WRITABLE)}."
        )
    beside = path.with_name(CONFIG_NAME)
    for there in (path, *([beside] if layout == "peft" else [])):
        if there.exists():
            raise BadUsage(f"{there} exists already.", hint="Give another name.")
    pieces = pieces_in(adapter.path)
    spelled = respell(pieces, layout)
    notes = {
        "format": "pt",
        "lorakit.version": __version__,
        **carried(pieces.report.metadata),
        **spelled.metadata,
    }
    write_tensors(path, spelled.tensors, notes)
    if spelled.config is not None:
        beside.write_text(config_text(spelled.config), encoding="utf-8")


def config_text(config: Mapping[str, object]) -> str:
    """The text of adapter_config.json."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"
