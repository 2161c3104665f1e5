"""The adapters of the fidelity page as files, in the layouts that the tools read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import torch
from safetensors.torch import save_file

from bench.fidelity_cases import Source
from lorakit.formats.anima import to_diffusers

_LYCORIS_PARTS = {
    "lokr": {"w1": "lokr_w1", "w2_a": "lokr_w2_a", "w2_b": "lokr_w2_b"},
    "loha": {f"w{side}_{half}": f"hada_w{side}_{half}" for side in "12" for half in "ab"},
}
# lorakit writes nothing without knowing that it may.
_TERMS = {"modelspec.license": "CC0-1.0"}
_FLAT_PARTS = {"up": "lora_up.weight", "down": "lora_down.weight", "magnitude": "dora_scale"}


def flat_tensors(source: Source) -> dict[str, torch.Tensor]:
    """By kohya's names, and LyCORIS's for what kohya has none for.

    There the alpha of rsLoRA is stored as LyCORIS stores it, times sqrt(rank), for readers that divide by
    the rank.
    """
    alpha = source.alpha * (sqrt(source.rank) if source.rslora else 1.0)
    tensors = {}
    for module, part, tensor in _parts(source):
        prefix = f"lora_unet_{module.replace('.', '_')}"
        ending = _LYCORIS_PARTS.get(source.algo, _FLAT_PARTS)[part]
        tensors[f"{prefix}.{ending}"] = tensor
        tensors[f"{prefix}.alpha"] = torch.tensor(alpha)
    return tensors


def diffusers_tensors(source: Source) -> dict[str, torch.Tensor]:
    """LoRA and DoRA by diffusers' names, as its `save_lora_adapter` writes them, and LoKr in its style."""
    endings = {
        "up": "lora_B.weight",
        "down": "lora_A.weight",
        "magnitude": "lora_magnitude_vector",
        **_LYCORIS_PARTS["lokr"],
    }
    return {
        f"transformer.{to_diffusers(module)}.{endings[part]}": (
            tensor.flatten() if part == "magnitude" else tensor
        )
        for module, part, tensor in _parts(source)
    }


def write_flat(path: Path, source: Source) -> Path:
    """A file of `flat_tensors`."""
    tensors = {key: t.contiguous() for key, t in flat_tensors(source).items()}
    save_file(tensors, path, {"format": "pt", **_TERMS})
    return path


def write_diffusers(path: Path, source: Source) -> Path:
    """A file of `diffusers_tensors`, with the rank and alpha where diffusers writes them."""
    stated = {
        "r": source.rank,
        "lora_alpha": source.alpha,
        "use_rslora": source.rslora,
        "use_dora": source.algo == "dora",
        "target_modules": [to_diffusers(module) for module in source.parts or {}],
    }
    notes = json.dumps({f"transformer.{name}": value for name, value in stated.items()})
    tensors = {key: t.contiguous() for key, t in diffusers_tensors(source).items()}
    save_file(tensors, path, {"format": "pt", "lora_adapter_metadata": notes, **_TERMS})
    return path


def _parts(source: Source) -> Iterator[tuple[str, str, torch.Tensor]]:
    for module, parts in (source.parts or {}).items():
        for part, tensor in parts.items():
            yield module, part, tensor
