"""Small models with real names, for tests that compute: a base and adapters on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.formats.inspection import AdapterReport, ModuleReport
from lorakit.formats.metadata import TrainingInfo
from tests.factories import BLOCK_LINEARS

WIDTH = 32
SMALLER = 64  # every published width is a multiple of this

LayoutName = Literal["kohya", "comfy", "diffusers"]


def tiny_shapes(blocks: int) -> dict[str, tuple[int, int]]:
    """Every linear layer of `blocks` blocks, each side 1/64 of the published one."""
    return {
        f"blocks.{i}.{name}": (max(out // SMALLER, 4), max(inner // SMALLER, 4))
        for i in range(blocks)
        for name, (out, inner) in BLOCK_LINEARS.items()
    }


def tiny_base(
    blocks: int = 3, *, prefix: str = "net.", dtype: torch.dtype = torch.float32, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random weights of a small model, with a text adapter of one block and some norms."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {f"{n}.weight": s for n, s in tiny_shapes(blocks).items()}
    shapes["x_embedder.proj.1.weight"] = (WIDTH, 68)
    shapes["blocks.0.self_attn.q_norm.weight"] = (8,)
    shapes["llm_adapter.blocks.0.cross_attn.q_proj.weight"] = (16, 16)
    shapes["llm_adapter.embed.weight"] = (40, 16)
    return {
        prefix + name: torch.randn(shape, generator=generator).mul_(0.02).to(dtype)
        for name, shape in shapes.items()
    }


def tiny_base_file(path: Path, blocks: int = 3, **options: object) -> Path:
    """`tiny_base` as a checkpoint file."""
    save_file(tiny_base(blocks, **options), path)  # type: ignore[arg-type]
    return path


def random_lora(
    names: Sequence[str],
    blocks: int,
    *,
    rank: int = 4,
    scale: float = 1.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, LoraModule]:
    """Random factors for modules of a `tiny_base`."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {**tiny_shapes(blocks), "llm_adapter.blocks.0.cross_attn.q_proj": (16, 16)}
    return {
        name: LoraModule(
            torch.randn(shapes[name][0], rank, generator=generator).mul_(0.05).to(dtype),
            torch.randn(rank, shapes[name][1], generator=generator).mul_(0.05).to(dtype),
            scale,
        )
        for name in names
    }


def usual_names(blocks: int, first: int = 0) -> list[str]:
    """The ten modules a block that most trainers touch."""
    return [
        name
        for name in tiny_shapes(blocks)
        if "adaln" not in name and int(name.split(".")[1]) >= first
    ]


def lora_file(
    path: Path,
    modules: dict[str, LoraModule],
    layout: LayoutName = "kohya",
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write `modules` in a trainer's layout."""
    save_lora(path, modules, layout=layout, metadata=metadata)
    return path


def memory_adapter(modules: dict[str, LoraModule]) -> Adapter:
    """`modules` as an adapter that was never in a file."""
    facts = tuple(
        ModuleReport(
            name,
            "lora",
            ("down", "up"),
            m.down.shape[0],
            None,
            m.scale,
            (m.up.shape[0], m.down.shape[1]),
            "F32",
        )
        for name, m in modules.items()
    )
    path = Path("memory.safetensors")
    report = AdapterReport(path, 0, ("kohya",), facts, {}, TrainingInfo(), {}, (), (), (), None)
    return Adapter(path, modules, report)
