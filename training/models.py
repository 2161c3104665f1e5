"""The sizes of the demo model's parts: the real classes, made small."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import AnimaTextConditioner, AutoencoderKLQwenImage, CosmosTransformer3DModel

TEXT_DIM = 64
TOKENS = 32
"""What the text conditioner pads prompts to."""

TRANSFORMER: Mapping[str, Any] = MappingProxyType(
    {
        "in_channels": 16,
        "out_channels": 16,
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "num_layers": 8,
        "mlp_ratio": 4.0,
        "text_embed_dim": TEXT_DIM,
        "adaln_lora_dim": 32,
        "max_size": (128, 240, 240),
        "patch_size": (1, 2, 2),
        "rope_scale": (1.0, 4.0, 4.0),
        "concat_padding_mask": True,
        "extra_pos_embed_type": None,
    }
)
CONDITIONER: Mapping[str, Any] = MappingProxyType(
    {
        "source_dim": TEXT_DIM,
        "target_dim": TEXT_DIM,
        "model_dim": TEXT_DIM,
        "num_layers": 2,
        "num_attention_heads": 4,
        "min_sequence_length": TOKENS,
    }
)
TEXT_ENCODER: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": TEXT_DIM,
        "intermediate_size": 2 * TEXT_DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
    }
)
VAE: Mapping[str, Any] = MappingProxyType(
    {
        "base_dim": 8,
        "z_dim": 16,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
    }
)


def make_vae() -> AutoencoderKLQwenImage:
    """A VAE of random weights; its kernels over time, which no picture uses, are zero."""
    import torch
    from diffusers import AutoencoderKLQwenImage

    vae = AutoencoderKLQwenImage(**VAE)
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if parameter.ndim == 5:
                # Earlier frames are seen by all slices but the last; a picture has none.
                parameter[:, :, :-1] = 0.0
                if "time_conv" in name:
                    parameter.zero_()
    return vae


def make_transformer() -> CosmosTransformer3DModel:
    """The transformer, as diffusers starts it."""
    from diffusers import CosmosTransformer3DModel

    return CosmosTransformer3DModel(**TRANSFORMER)


def make_conditioner(vocabulary: int) -> AnimaTextConditioner:
    """The text conditioner for a T5 vocabulary of this size, as diffusers starts it."""
    from diffusers import AnimaTextConditioner

    return AnimaTextConditioner(target_vocab_size=vocabulary, **CONDITIONER)
