"""Three random style adapters for the demo model, as three different trainers would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.formats import anima
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.formats.layouts import WritableLayout
from lorakit.formats.metadata import BASE_BLOCKS_KEY

_ATTENTION_AND_MLP: tuple[anima.Kind, ...] = ("self_attn", "cross_attn", "mlp")


@dataclass(frozen=True)
class DemoAdapter:
    """How one demo adapter is made: what it touches, in which layout, and what its header says."""

    name: str
    layout: WritableLayout
    rank: int
    alpha: float
    first_block: int
    kinds: tuple[anima.Kind, ...]
    metadata: Mapping[str, str]


DEMO_ADAPTERS: tuple[DemoAdapter, ...] = (
    DemoAdapter(
        "ink",
        "kohya",
        rank=16,
        alpha=8.0,
        first_block=0,
        kinds=_ATTENTION_AND_MLP,
        metadata=MappingProxyType(
            {
                "ss_network_module": "networks.lora_anima",
                "ss_network_dim": "16",
                "ss_network_alpha": "8.0",
                "ss_base_model_version": "anima",
                "ss_tag_frequency": json.dumps(
                    {"10_ink": {"@ink": 40, "lighthouse": 12, "sea": 9}}
                ),
                "modelspec.trigger_phrase": "@ink",
                "modelspec.license": "CC-BY-4.0",
            }
        ),
    ),
    DemoAdapter(
        # Trained as RDBT's own LoRA is: rank and alpha 24, blocks 0-2 and adaln left out.
        "wash",
        "comfy",
        rank=24,
        alpha=24.0,
        first_block=3,
        kinds=_ATTENTION_AND_MLP,
        metadata=MappingProxyType({"modelspec.title": "wash", "modelspec.trigger_phrase": "@wash"}),
    ),
    DemoAdapter(
        "neon",
        "diffusers",
        rank=8,
        alpha=16.0,
        first_block=0,
        kinds=(*_ATTENTION_AND_MLP, "adaln"),
        metadata=MappingProxyType({"modelspec.title": "neon", "modelspec.trigger_phrase": "@neon"}),
    ),
)

# The size of an adapter's delta next to the weight it changes, by Frobenius norm. Random weights carry
# no style, so the demo needs more than the few per cent of a trained adapter to show anything.
RELATIVE_SIZE = 0.15


def write_demo_adapters(checkpoint: Path, folder: Path, *, seed: int = 0) -> tuple[Path, ...]:
    """Write `DEMO_ADAPTERS` for the model at `checkpoint` into `folder`, bf16; give their paths."""
    from lorakit.fusion.base import open_base

    base = open_base(checkpoint)
    blocks = read_checkpoint(checkpoint).blocks
    paths = []
    for index, spec in enumerate(DEMO_ADAPTERS):
        generator = torch.Generator().manual_seed(seed + index)
        names = [
            f"blocks.{block}.{inner}"
            for block in range(spec.first_block, blocks)
            for kind in spec.kinds
            for inner in anima.BLOCK_LINEARS[kind]
        ]
        modules = {
            name: _random_module(base[f"{base.prefix}{name}.weight"], spec, generator)
            for name in names
        }
        path = folder / f"{spec.name}.safetensors"
        notes = {**spec.metadata, BASE_BLOCKS_KEY: str(blocks)}
        save_lora(path, modules, layout=spec.layout, metadata=notes)
        paths.append(path)
    return tuple(paths)


def _random_module(
    weight: torch.Tensor, spec: DemoAdapter, generator: torch.Generator
) -> LoraModule:
    out, inner = weight.shape
    scale = spec.alpha / spec.rank
    up = torch.randn(out, spec.rank, generator=generator)
    down = torch.randn(spec.rank, inner, generator=generator)
    # ||up @ down|| is close to sqrt(out * in * rank) for independent normal factors.
    wanted = RELATIVE_SIZE * weight.float().norm() / (scale * (out * inner * spec.rank) ** 0.5)
    return LoraModule((up * wanted).bfloat16(), down.bfloat16(), scale)
