"""A small model whose matrices are large enough to be sampled, and what its sketch has to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lorakit.sketches.positions import positions
from lorakit.sketches.sketch import Sketch

OUT, IN, RANK = 64, 96, 4
LAYER = "blocks.0.mlp.layer1"

SHAPES: Mapping[str, tuple[int, ...]] = {
    **{
        f"blocks.{block}.{name}": shape
        for block in range(2)
        for name, shape in {
            "self_attn.q_proj": (IN, IN),
            "self_attn.output_proj": (IN, IN),
            "cross_attn.k_proj": (IN, 64),
            "mlp.layer1": (OUT, IN),
            "mlp.layer2": (IN, OUT),
            "adaln_modulation_mlp.1": (32, IN),
            "self_attn.q_norm": (16,),
        }.items()
    },
    "x_embedder.proj.1": (IN, 68),
    "final_layer.linear": (64, IN),
    "t_embedding_norm": (IN,),
    "llm_adapter.embed": (200, 64),
    "llm_adapter.blocks.0.cross_attn.q_proj": (64, 64),
    "llm_adapter.blocks.0.mlp.0": (128, 64),
    "llm_adapter.norm": (64,),
}


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Random weights by canonical module name."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator).mul_(0.02).to(dtype)
        for name, shape in SHAPES.items()
    }


def named(modules: Mapping[str, torch.Tensor], prefix: str = "net.") -> dict[str, torch.Tensor]:
    """As a checkpoint's tensors."""
    return {f"{prefix}{name}.weight": tensor for name, tensor in modules.items()}


def saved(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> Path:
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path, metadata)
    return path


def expected(modules: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What a sketch of these weights holds, taken from the whole matrices."""
    found = {}
    for name, tensor in modules.items():
        if tensor.ndim > 1:
            matrix = tensor.flatten(1).float().numpy()
            where = positions(name, (matrix.shape[0], matrix.shape[1]))
            runs = zip(where.rows, where.columns, strict=True)
            found[name] = np.concatenate([matrix[r, c : c + where.length] for r, c in runs])
    return found


def assert_same(sketch: Sketch, wanted: Mapping[str, np.ndarray], tolerance: float = 0) -> None:
    """Exactly these modules, with these values, within `tolerance` of the largest."""
    assert sketch.values.keys() == wanted.keys()
    for name, values in wanted.items():
        assert sketch.values[name].dtype == np.float32
        np.testing.assert_allclose(
            sketch.values[name], values, rtol=0, atol=tolerance * np.abs(values).max(), err_msg=name
        )
