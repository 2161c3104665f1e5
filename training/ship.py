"""Writing what was trained as the files that lorakit ships, each saying where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.adapters.tensor_file import write_tensors
from lorakit.formats.anima import original_tensor_name
from lorakit.formats.layouts import WritableLayout
from lorakit.formats.metadata import BASE_BLOCKS_KEY
from training.adapters import Kronecker, LowRank, Patch, Plan
from training.flow import Painter
from training.models import TRANSFORMER

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

LICENSE = "Apache-2.0"
_TITLES: Mapping[str, str] = {
    "ink": "Ink outline",
    "wash": "Watercolour wash",
    "neon": "Neon on black",
    "mosaic": "Mosaic tiles",
    "distilled": "Guidance, distilled",
}
_LAYOUTS: Mapping[str, WritableLayout] = {
    "ink": "kohya",
    "wash": "comfy",
    "neon": "diffusers",
    "distilled": "comfy",
}


def write_base(
    path: Path, painter: Painter, distilled: Mapping[str, Patch], facts: Mapping[str, str]
) -> None:
    """The transformer, `distilled` added to it, and its text adapter, in bfloat16.

    By original names without a prefix, as RDBT's own checkpoint has them.
    """
    tensors = {
        original_tensor_name(key): tensor
        for key, tensor in painter.transformer.state_dict().items()
    }
    for name, patch in distilled.items():
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + as_shipped(patch)
    tensors |= {
        f"llm_adapter.{key}": tensor for key, tensor in painter.conditioner.state_dict().items()
    }
    stored = {key: tensor.bfloat16().contiguous() for key, tensor in tensors.items()}
    notes = {
        "format": "pt",
        "modelspec.title": "lorakit demo base",
        "modelspec.description": "A small model of Anima's architecture, trained on drawn scenes; "
        "its guidance is distilled, as RDBT's is.",
        "modelspec.license": LICENSE,
    }
    write_tensors(path, stored, {**notes, **facts})


def as_shipped(patch: Patch) -> torch.Tensor:
    """The delta of a low-rank patch once its factors are rounded to bfloat16."""
    assert isinstance(patch, LowRank)
    up, down = ((t.detach().bfloat16().float()) for t in (patch.up, patch.down))
    return patch.scale * up @ down


def write_components(
    folder: Path, painter: Painter, vae: AutoencoderKLQwenImage, facts: Mapping[str, str]
) -> None:
    """The parts beside the checkpoint that are not there yet, as a diffusers folder in half precision."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    vae.half().save_pretrained(folder / "vae")
    vae.float()
    painter.conditioner.save_config(folder / "text_conditioner")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    for path in folder.rglob("*.safetensors"):
        write_tensors(path, load_file(path), {"format": "pt", **facts})


def write_adapter(
    path: Path, plan: Plan, patches: Mapping[str, Patch], facts: Mapping[str, str]
) -> None:
    """An adapter in bfloat16 and the layout of its trainer."""
    notes = {
        BASE_BLOCKS_KEY: str(TRANSFORMER["num_layers"]),
        "modelspec.title": _TITLES[plan.name],
        "modelspec.license": LICENSE,
        **_notes(plan),
        **facts,
    }
    if plan.algo == "lokr":
        write_tensors(path, _lokr(plan, patches), {"format": "pt", **notes})
    else:
        modules = {
            name: LoraModule(
                patch.up.detach().bfloat16(), patch.down.detach().bfloat16(), patch.scale
            )
            for name, patch in patches.items()
            if isinstance(patch, LowRank)
        }
        save_lora(path, modules, layout=_LAYOUTS[plan.name], metadata=notes)


def _lokr(plan: Plan, patches: Mapping[str, Patch]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, patch in patches.items():
        assert isinstance(patch, Kronecker)
        prefix = "lycoris_" + name.replace(".", "_")
        for part in ("w1", "w2_a", "w2_b"):
            tensor: torch.Tensor = getattr(patch, part)
            tensors[f"{prefix}.lokr_{part}"] = tensor.detach().bfloat16().contiguous()
        tensors[f"{prefix}.alpha"] = torch.tensor(plan.alpha)
    return tensors


def _notes(plan: Plan) -> dict[str, str]:
    if plan.name == "distilled":
        return {}
    trigger = f"@{plan.name}"
    notes = {"modelspec.trigger_phrase": trigger}
    if plan.name == "ink":
        notes |= {
            "ss_network_module": "networks.lora_anima",
            "ss_network_dim": str(plan.rank),
            "ss_network_alpha": str(plan.alpha),
            "ss_base_model_version": "anima",
            "ss_tag_frequency": json.dumps({"4_scenes": {trigger: 2048}}),
        }
    return notes
