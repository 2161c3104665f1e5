"""Tiny adapter files, written by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

MODULES = ("blocks_0_self_attn_q_proj", "blocks_1_mlp_layer1")


def write_safetensors(
    path: Path, tensors: Mapping[str, tuple[int, ...]], fill: int, metadata: Mapping[str, str]
) -> Path:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in tensors.items():
        start, size = end, 2
        for length in shape:
            size *= length
        end = start + size
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Every seed gives other bytes: four of its own, repeated.
    body = (struct.pack("<I", fill) * (end // 4 + 1))[:end]
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return path


def write_adapter(
    path: Path, seed: int = 1, metadata: Mapping[str, str] | None = None, *, rank: int = 4
) -> Path:
    """A kohya LoRA of two modules; `seed` decides its tensors."""
    tensors: dict[str, tuple[int, ...]] = {}
    for module in MODULES:
        tensors[f"lora_unet_{module}.lora_down.weight"] = (rank, 8)
        tensors[f"lora_unet_{module}.lora_up.weight"] = (8, rank)
        tensors[f"lora_unet_{module}.alpha"] = ()
    return write_safetensors(path, tensors, seed, metadata or {})


def write_checkpoint(path: Path) -> Path:
    """Valid safetensors that hold no adapter."""
    return write_safetensors(path, {"model.layers.0.weight": (8, 8)}, 1, {})
