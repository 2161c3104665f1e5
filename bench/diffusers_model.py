"""Anima's transformer as diffusers has it, for the benchmarks that compare with diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel


def empty_transformer(layers: int, mlp_ratio: float) -> CosmosTransformer3DModel:
    """The transformer of Anima's width with so many blocks, on the meta device: nothing is held."""
    from diffusers import CosmosTransformer3DModel

    with torch.device("meta"):
        return CosmosTransformer3DModel(
            in_channels=16,
            out_channels=16,
            num_attention_heads=16,
            attention_head_dim=128,
            num_layers=layers,
            mlp_ratio=mlp_ratio,
            text_embed_dim=1024,
            adaln_lora_dim=256,
            extra_pos_embed_type=None,
        )
