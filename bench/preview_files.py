"""The files that the preview benchmarks work on: a base, its other parts, and four adapters.

lorakit reads a checkpoint and a folder of components, diffusers a folder for every part; both get the same
numbers and the same adapter files, in diffusers' own layout, which PEFT reads as it is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.files import write_adapter, write_base
from lorakit.formats import anima
from lorakit.formats.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Files:
    """Where everything lies; `whole` has diffusers' folders of transformer and text conditioner."""

    base: Path
    components: Path
    whole: Path
    adapters: tuple[Path, ...]


def write_small(folder: Path, ranks: tuple[int, ...]) -> Files:
    """The demo's model, and random adapters of `ranks` on its attention and MLP layers."""
    from lorakit.preview.demo_model import write_demo_model

    model = write_demo_model(folder)
    return _complete(folder, model.checkpoint, model.components, ranks)


def write_full(folder: Path, ranks: tuple[int, ...]) -> Files:
    """Random weights of the full size (about 12 GB): what is there from an earlier run is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    components = folder / "components"
    if not (components / "done").is_file():
        _write_components(components)
        (components / "done").touch()
    return _complete(folder, write_base(folder / "base.safetensors"), components, ranks)


def _complete(folder: Path, base: Path, components: Path, ranks: tuple[int, ...]) -> Files:
    whole = folder / "whole"
    if not (whole / "done").is_file():
        _write_whole(whole, base, components)
        (whole / "done").touch()
    shapes = {
        name: (info.shape[0], info.shape[1])
        for name, info in read_checkpoint(base).modules().items()
        if anima.kind_of(name) in ("self_attn", "cross_attn", "mlp") and len(info.shape) == 2
    }
    adapters = [
        write_adapter(folder / f"rank{rank}.safetensors", rank, modules=shapes, layout="diffusers")
        for rank in ranks
    ]
    return Files(base, components, whole, tuple(adapters))


def _write_whole(whole: Path, base: Path, components: Path) -> None:
    """The transformer and the text conditioner as diffusers keeps them."""
    from lorakit.fusion.base import open_base
    from lorakit.preview.models import build_text_conditioner, build_transformer

    opened = open_base(base)
    weights = {name: opened[key] for name, key in opened.names.items()}
    length = _sequence_length(components)
    transformer = build_transformer(weights, device="cpu", dtype=torch.bfloat16)
    transformer.save_pretrained(whole / "transformer", max_shard_size="20GB")
    conditioner = build_text_conditioner(weights, min_sequence_length=length, device="cpu")
    conditioner.save_pretrained(whole / "text_conditioner", max_shard_size="20GB")


def _sequence_length(components: Path) -> int:
    config = json.loads((components / "text_conditioner" / "config.json").read_text("utf-8"))
    return int(config["min_sequence_length"])


def _write_components(folder: Path) -> None:
    """Qwen3 0.6B's and the Qwen-Image VAE's sizes with random weights, and small tokenizers."""
    from diffusers import (
        AnimaTextConditioner,
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
    )
    from transformers import Qwen3Config, Qwen3Model

    from lorakit.preview.demo_model import SHIPPED

    torch.manual_seed(0)
    for name in ("tokenizer", "t5_tokenizer"):
        shutil.copytree(SHIPPED / "components" / name, folder / name, dirs_exist_ok=True)
    config = Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    Qwen3Model(config).bfloat16().save_pretrained(folder / "text_encoder")
    AutoencoderKLQwenImage().bfloat16().save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    with torch.device("meta"):
        AnimaTextConditioner().save_config(folder / "text_conditioner")
