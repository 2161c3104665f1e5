"""Write plain LoRA modules as an adapter file, in the key layout of a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lorakit import __version__
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.tensor_file import write_tensors
from lorakit.errors import BadUsage, NotFusable, Refused
from lorakit.formats.layouts import WRITABLE, WritableLayout, module_prefix
from lorakit.formats.peft_config import METADATA_KEY


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


def save_adapter(adapter: Adapter, path: Path, layout: WritableLayout) -> None:
    """Write a LoRA adapter in `layout`, with its metadata; see `Adapter.save`."""
    if adapter.made_of:
        raise Refused(
            f"This adapter was merged from {len(adapter.made_of)} files, whose licences were not asked.",
            hint="`lorakit merge ... -o FILE` asks them, and writes it where they allow it.",
        )
    if layout not in WRITABLE:
        raise BadUsage(
            f"There is no layout {layout!r} to write.", hint=f"Give {', '.join(WRITABLE)}."
        )
    if path.exists():
        raise BadUsage(f"{path} exists already.", hint="Give another name.")
    modules: dict[str, LoraModule] = {}
    for name, module in adapter.modules.items():
        if not isinstance(module, LoraModule) or name in adapter.biases:
            raise _not_plain(adapter, name)
        modules[name] = module if layout == "kohya" else _scaled(module)
    if beyond := sorted(adapter.biases.keys() - modules.keys()):
        raise _not_plain(adapter, beyond[0])
    # PEFT's own record of alpha would be read again, on top of the scale that is written here.
    kept = {key: text for key, text in adapter.report.metadata.items() if key != METADATA_KEY}
    save_lora(path, modules, layout=layout, metadata=kept)


def _scaled(module: LoraModule) -> LoraModule:
    """The same delta with scale 1; up becomes float32 where its dtype cannot hold the product."""
    up = module.up.float() * module.scale
    kept = up.to(module.up.dtype)
    return LoraModule(kept if torch.equal(kept.float(), up) else up, module.down, 1.0)


def _not_plain(adapter: Adapter, name: str) -> NotFusable:
    algo = next((m.algo for m in adapter.report.modules if m.name == name), "more than LoRA")
    return NotFusable(
        f"{adapter.path} cannot be written in another layout: {name} is {algo}, or changes a bias.",
        hint="Only plain LoRA can; the file itself stays as good as it is.",
    )
