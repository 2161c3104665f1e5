"""The files the benchmarks work on: a full-size base and kohya adapters, of random weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from itertools import product
from math import prod
from pathlib import Path

import torch

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.formats import anima
from lorakit.formats.layouts import WritableLayout

Shape = tuple[int, ...]

BLOCKS, WIDTH, TEXT_WIDTH, ADALN, MLP = 28, 2048, 1024, 256, 8192
ADAPTER_BLOCKS, VOCABULARY, HEAD, ADAPTER_HEAD = 6, 32128, 128, 64
# Anima Base v1.0: what a file of these shapes must come to.
PARAMETERS, TENSORS = 2_091_068_928, 685
PREFIX = "net."

_ATTENTIONS = ("self_attn", "cross_attn")
_BASE_DEVIATION = 0.02
# The size of a delta next to the weight it changes, as trained adapters have it.
_RELATIVE_DELTA = 0.01


def block_linears() -> dict[str, tuple[int, int]]:
    """(out, in) of every linear layer of one transformer block."""
    shapes = dict.fromkeys(anima.BLOCK_LINEARS["self_attn"], (WIDTH, WIDTH))
    for name in anima.BLOCK_LINEARS["cross_attn"]:
        from_text = name.endswith(("k_proj", "v_proj"))
        shapes[name] = (WIDTH, TEXT_WIDTH if from_text else WIDTH)
    shapes |= {"mlp.layer1": (MLP, WIDTH), "mlp.layer2": (WIDTH, MLP)}
    for name in anima.BLOCK_LINEARS["adaln"]:
        shapes[name] = (ADALN, WIDTH) if name.endswith(".1") else (3 * WIDTH, ADALN)
    return shapes


def usual_modules() -> dict[str, tuple[int, int]]:
    """The 280 modules that trainers touch by default: attention and MLP of all blocks."""
    return {
        f"blocks.{block}.{name}": shape
        for block, (name, shape) in product(range(BLOCKS), block_linears().items())
        if not name.startswith("adaln")
    }


def base_tensors() -> dict[str, Shape]:
    """Every tensor of a full checkpoint by canonical name."""
    shapes: dict[str, Shape] = {}
    for block in range(BLOCKS):
        stem = f"blocks.{block}"
        shapes |= {f"{stem}.{name}.weight": shape for name, shape in block_linears().items()}
        for attention, x in product(_ATTENTIONS, "qk"):
            shapes[f"{stem}.{attention}.{x}_norm.weight"] = (HEAD,)
    roots: dict[str, Shape] = {
        "x_embedder.proj.1": (WIDTH, 68),
        "t_embedder.1.linear_1": (WIDTH, WIDTH),
        "t_embedder.1.linear_2": (3 * WIDTH, WIDTH),
        "t_embedding_norm": (WIDTH,),
        "final_layer.linear": (64, WIDTH),
        "final_layer.adaln_modulation.1": (ADALN, WIDTH),
        "final_layer.adaln_modulation.2": (2 * WIDTH, ADALN),
    }
    shapes |= {f"{name}.weight": shape for name, shape in roots.items()}
    return shapes | {f"llm_adapter.{name}": shape for name, shape in _text_adapter().items()}


def _text_adapter() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "embed.weight": (VOCABULARY, TEXT_WIDTH),
        "out_proj.weight": (TEXT_WIDTH, TEXT_WIDTH),
        "out_proj.bias": (TEXT_WIDTH,),
        "norm.weight": (TEXT_WIDTH,),
    }
    for block in range(ADAPTER_BLOCKS):
        stem = f"blocks.{block}"
        for attention in _ATTENTIONS:
            shapes |= {
                f"{stem}.{attention}.{x}_proj.weight": (TEXT_WIDTH, TEXT_WIDTH) for x in "qkvo"
            }
            shapes |= {f"{stem}.{attention}.{x}_norm.weight": (ADAPTER_HEAD,) for x in "qk"}
        shapes |= {f"{stem}.norm_{x}.weight": (TEXT_WIDTH,) for x in (*_ATTENTIONS, "mlp")}
        shapes[f"{stem}.mlp.0.weight"] = (4 * TEXT_WIDTH, TEXT_WIDTH)
        shapes[f"{stem}.mlp.0.bias"] = (4 * TEXT_WIDTH,)
        shapes[f"{stem}.mlp.2.weight"] = (TEXT_WIDTH, 4 * TEXT_WIDTH)
        shapes[f"{stem}.mlp.2.bias"] = (TEXT_WIDTH,)
    return shapes


def write_base(path: Path) -> Path:
    """Write a full-size bf16 base, one tensor at a time; a whole one from an earlier run is kept."""
    shapes = base_tensors()
    count = sum(map(prod, shapes.values()))
    assert (len(shapes), count) == (TENSORS, PARAMETERS)
    header = _header(shapes)
    if path.is_file() and path.stat().st_size == len(header) + 2 * count:
        return path
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        file.write(header)
        for shape in shapes.values():
            drawn = torch.empty(shape).normal_(0.0, _BASE_DEVIATION, generator=generator)
            file.write(drawn.bfloat16().view(torch.uint8).numpy().data)
    return path


def _header(shapes: Mapping[str, Shape]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 2 * prod(shape)
        entries[PREFIX + name] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": (offset, end),
        }
        offset = end
    raw = json.dumps(entries).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw


def write_adapter(
    path: Path,
    rank: int,
    *,
    modules: Mapping[str, tuple[int, int]] | None = None,
    layout: WritableLayout = "kohya",
    seed: int = 0,
) -> Path:
    """Write a bf16 LoRA, alpha the rank, on `modules` (the usual 280).

    The same rank and seed give the same values.
    """
    generator = torch.Generator().manual_seed(rank + 1000 * seed)
    made = {
        name: _module(shape, rank, generator)
        for name, shape in (usual_modules() if modules is None else modules).items()
    }
    save_lora(path, made, layout=layout, metadata={"ss_network_module": "networks.lora_anima"})
    return path


def _module(shape: tuple[int, int], rank: int, generator: torch.Generator) -> LoraModule:
    down = torch.empty(rank, shape[1]).normal_(0.0, _BASE_DEVIATION, generator=generator)
    # A product of independent normal factors has the deviation up * down * sqrt(rank).
    deviation = _RELATIVE_DELTA / rank**0.5
    up = torch.empty(shape[0], rank).normal_(0.0, deviation, generator=generator)
    # Scale 1: diffusers, given the path of a file, passes over the alpha in its header.
    return LoraModule(up.bfloat16(), down.bfloat16(), 1.0)
