"""A stack as a ComfyUI workflow: Anima's own template, with a loader for every adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorakit.formats.model_files import is_folder
from lorakit.sharing.comfy_nodes import Nodes, editors_graph, executed_graph
from lorakit.sharing.shared import (
    Settings,
    SharedEntry,
    SharedStack,
    entry_record,
    plain_strength,
    record,
    weighted_words,
)
from lorakit.strengths.text import number

# What ComfyUI's own Anima model samples with; another shift takes a node.
_USUAL_SHIFT = 3.0
_FILES = "https://huggingface.co/circlestone-labs/Anima/resolve/main/split_files"
_TEXT_ENCODER, _VAE = "qwen_3_06b_base.safetensors", "qwen_image_vae.safetensors"
# JavaScript's largest whole number without gaps.
_LARGEST_SEED = 2**53
_LORAS = ("loras", "Lora", "lora")
_MODELS = ("diffusion_models", "unet")


def comfyui_text(shared: SharedStack, *, api: bool = False) -> tuple[str, list[str]]:
    """The workflow as JSON, for the editor or for the API, and sentences on what ComfyUI lacks of it.

    Hashes and whole strengths stand in the loaders' properties and in `extra.lorakit`, which ComfyUI
    keeps and does not use.
    """
    nodes = _nodes(shared)
    graph = executed_graph(nodes) if api else editors_graph(nodes, {"lorakit": record(shared)})
    settings = shared.settings or Settings()
    lost = [sentence for entry in shared.entries for sentence in _lost(entry)]
    lost += weighted_words(settings, "ComfyUI", "()")
    if is_folder(shared.base.path) or shared.base.path.suffix == ".json":
        lost.append(
            f"ComfyUI loads one file, and the base {shared.base.name} is not one: choose another in "
            "the node that loads it."
        )
    if settings.seed > _LARGEST_SEED and not api:
        lost.append(
            f"ComfyUI's editor rounds seeds above {_LARGEST_SEED}, so that it renders another."
        )
    return json.dumps(graph, indent=2, ensure_ascii=False) + "\n", lost


def name_below(path: Path, folders: tuple[str, ...]) -> str:
    """What ComfyUI calls the file: its path from the nearest folder of one of these names, else its name."""
    parts = path.absolute().parts
    at = max((i for i, part in enumerate(parts[:-1]) if part in folders), default=len(parts) - 2)
    return "/".join(parts[at + 1 :])


def _nodes(shared: SharedStack) -> Nodes:
    settings = shared.settings or Settings()
    nodes = Nodes()
    model = nodes.add(
        "UNETLoader",
        (0, 0),
        {"unet_name": (name := name_below(shared.base.path, _MODELS)), "weight_dtype": "default"},
        properties=_stated(
            {"unet_name": name, **_hashes(shared.base.sha256, shared.base.tensor_sha256)}
        ),
    )
    clip = nodes.add(
        "CLIPLoader",
        (0, 190),
        {"clip_name": _TEXT_ENCODER, "type": "stable_diffusion", "device": "default"},
        properties=_download(_TEXT_ENCODER, "text_encoders"),
    )
    vae = nodes.add("VAELoader", (0, 410), {"vae_name": _VAE}, properties=_download(_VAE, "vae"))
    model_out, clip_out, below = _loaders(nodes, shared, (model, 0), (clip, 0))
    if settings.shift != _USUAL_SHIFT:
        sampling = nodes.add(
            "ModelSamplingAuraFlow", (380, below), {"shift": settings.shift}, {"model": model_out}
        )
        model_out = (sampling, 0)
    prompts = [
        nodes.add(
            "CLIPTextEncode",
            (760, 300 * at),
            {"text": text},
            {"clip": clip_out},
            title=f"CLIP Text Encode ({which} Prompt)",
        )
        for at, (which, text) in enumerate(
            (("Positive", settings.prompt), ("Negative", settings.negative_prompt))
        )
    ]
    latent = nodes.add(
        "EmptyLatentImage",
        (0, 560),
        {"width": settings.width, "height": settings.height, "batch_size": 1},
    )
    sampler = nodes.add(
        "KSampler",
        (1260, 0),
        {
            "seed": settings.seed,
            "steps": settings.steps,
            "cfg": settings.cfg,
            "sampler_name": "euler",
            "scheduler": "simple",
            "denoise": 1.0,
        },
        {
            "model": model_out,
            "positive": (prompts[0], 0),
            "negative": (prompts[1], 0),
            "latent_image": (latent, 0),
        },
    )
    decoded = nodes.add("VAEDecode", (1260, 540), {}, {"samples": (sampler, 0), "vae": (vae, 0)})
    nodes.add("SaveImage", (1640, 0), {"filename_prefix": "Anima"}, {"images": (decoded, 0)})
    nodes.add("MarkdownNote", (-540, 0), {"text": _note(shared)})
    return nodes


def _loaders(
    nodes: Nodes, shared: SharedStack, model: tuple[int, int], clip: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Add a loader for every adapter, one behind the other; the last outputs, and the room below them."""
    below = 0
    for entry in shared.entries:
        plain = plain_strength(entry)
        values: dict[str, Any] = {
            "lora_name": name_below(entry.path, _LORAS),
            "strength_model": plain.model,
        }
        both = entry.has_text_encoder
        if both:
            values["strength_clip"] = plain.clip
        added = nodes.add(
            "LoraLoader" if both else "LoraLoaderModelOnly",
            (380, below),
            values,
            {"model": model, "clip": clip} if both else {"model": model},
            properties=_stated({**entry_record(entry), **values}),
        )
        model, clip = (added, 0), (added, 1) if both else clip
        below += 240 if both else 200
    return model, clip, below


def _stated(what: Mapping[str, Any]) -> dict[str, Any]:
    return {"lorakit": dict(what)}


def _hashes(sha256: str, tensors: str) -> dict[str, str]:
    return {"sha256": sha256, "tensor_sha256": tensors}


def _download(name: str, folder: str) -> dict[str, Any]:
    """Where the editor offers to download the file from when it is missing."""
    return {"models": [{"name": name, "url": f"{_FILES}/{folder}/{name}", "directory": folder}]}


def _note(shared: SharedStack) -> str:
    lines = ["## Files", f"- `{shared.base.path.name}`, sha256 {shared.base.sha256}"]
    lines += [f"- `{entry.path.name}`, sha256 {entry.sha256}" for entry in shared.entries]
    lost = [sentence for entry in shared.entries for sentence in _lost(entry)]
    if lost:
        lines += ["", "## What ComfyUI does otherwise", *(f"- {sentence}" for sentence in lost)]
    lines += ["", "`lorakit stack WORKFLOW.json` finds the files by these hashes."]
    return "\n".join(lines)


def _lost(entry: SharedEntry) -> list[str]:
    plain = plain_strength(entry)
    if plain.exact:
        return []
    return [
        f"ComfyUI applies {entry.name} at {number(plain.model)} throughout: its loaders cannot say "
        f"{entry.strength}, which is kept for lorakit."
    ]
