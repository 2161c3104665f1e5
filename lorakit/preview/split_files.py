"""ComfyUI's split files: the text encoder and the VAE as one safetensors file each, without a
configuration beside it. Sizes are read from the tensors' shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from lorakit.errors import BadFile
from lorakit.preview.devices import conditioning_dtype
from lorakit.preview.empty_models import build_empty, fill_model

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKLQwenImage
    from transformers import Qwen3Model

# What no shape can tell about Qwen3 0.6B Base.
_ROPE_THETA = 1e6
_NORM_EPS = 1e-6

_VAE_RENAMES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^conv1\.", "quant_conv."),
        (r"^conv2\.", "post_quant_conv."),
        (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
        (r"^(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
        (r"^(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
        (r"^(encoder|decoder)\.middle\.0\.", r"\1.mid_block.resnets.0."),
        (r"^(encoder|decoder)\.middle\.1\.", r"\1.mid_block.attentions.0."),
        (r"^(encoder|decoder)\.middle\.2\.", r"\1.mid_block.resnets.1."),
        (r"^encoder\.downsamples\.", "encoder.down_blocks."),
        (r"\.residual\.0\.", ".norm1."),
        (r"\.residual\.2\.", ".conv1."),
        (r"\.residual\.3\.", ".norm2."),
        (r"\.residual\.6\.", ".conv2."),
        (r"\.shortcut\.", ".conv_shortcut."),
    )
)
_UPSAMPLE = re.compile(r"^decoder\.upsamples\.(\d+)\.")


def load_split_text_encoder(file: Path, *, device: str) -> Qwen3Model:
    """The Qwen3Model in `file` (keys `model.layers...`), in float32 on `device`.

    Raises:
        BadFile: a tensor is missing, unknown or of the wrong shape.
    """
    from transformers import Qwen3Config, Qwen3Model

    tensors = {
        key.removeprefix("model."): tensor.to(device=device, dtype=conditioning_dtype())
        for key, tensor in load_file(file).items()
        # The output layer is tied to the embedding and plays no part in conditioning.
        if key != "lm_head.weight"
    }
    config = Qwen3Config(**text_encoder_config(tensors))
    model = build_empty(lambda: Qwen3Model(config), what="text encoder")
    return fill_model(model, tensors, what="text encoder").to(device)


def text_encoder_config(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of `Qwen3Config` for tensors named as in `Qwen3Model`.

    Raises:
        BadFile: a tensor that the sizes are read from is missing.
    """
    vocabulary, hidden = _shape(tensors, "embed_tokens.weight")
    (head_dim,) = _shape(tensors, "layers.0.self_attn.q_norm.weight")
    layers = [int(key.split(".")[1]) for key in tensors if re.match(r"layers\.\d+\.", key)]
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": max(layers) + 1,
        "head_dim": head_dim,
        "num_attention_heads": _shape(tensors, "layers.0.self_attn.q_proj.weight")[0] // head_dim,
        "num_key_value_heads": _shape(tensors, "layers.0.self_attn.k_proj.weight")[0] // head_dim,
        "intermediate_size": _shape(tensors, "layers.0.mlp.gate_proj.weight")[0],
        "rms_norm_eps": _NORM_EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": _ROPE_THETA},
        "tie_word_embeddings": True,
    }


def load_split_vae(file: Path, *, device: str, dtype: torch.dtype) -> AutoencoderKLQwenImage:
    """The AutoencoderKLQwenImage in `file` (Wan's own key names, or diffusers'), on `device`.

    Raises:
        BadFile: a tensor is missing, unknown or of the wrong shape.
    """
    from diffusers import AutoencoderKLQwenImage

    tensors = {
        key: tensor.to(device=device, dtype=dtype)
        for key, tensor in vae_names_to_diffusers(load_file(file)).items()
    }
    config = vae_config(tensors)
    model = build_empty(lambda: AutoencoderKLQwenImage(**config), what="VAE")
    return fill_model(model, tensors, what="VAE").to(device)


def vae_names_to_diffusers(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a VAE from Wan's names to diffusers'; diffusers' names stay as they are.

    diffusers' own conversion knows two residual blocks a stage; this one counts them, so that the
    demo model's smaller VAE goes the same way as the real one.
    """
    stage = _upsample_stage_length(tensors)
    return {_vae_name(key, stage): tensor for key, tensor in tensors.items()}


def vae_config(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of `AutoencoderKLQwenImage` for tensors under diffusers' names.

    The latents' means and deviations stand in no file: diffusers' defaults are Wan's.

    Raises:
        BadFile: a tensor that the sizes are read from is missing.
    """
    base = _shape(tensors, "encoder.conv_in.weight")[0]
    stages = 1 + max(_indices(tensors, r"decoder\.up_blocks\.(\d+)\."), default=-1)
    widths = [
        _shape(tensors, f"decoder.up_blocks.{i}.resnets.0.conv2.weight")[0] for i in range(stages)
    ]
    resnets = 1 + max(_indices(tensors, r"decoder\.up_blocks\.0\.resnets\.(\d+)\."), default=0)
    upsampled = [
        f"decoder.up_blocks.{i}.upsamplers.0.time_conv.weight" in tensors for i in range(stages - 1)
    ]
    return {
        "base_dim": base,
        "z_dim": _shape(tensors, "post_quant_conv.weight")[0],
        "dim_mult": [width // base for width in reversed(widths)],
        "num_res_blocks": resnets - 1,
        "temperal_downsample": upsampled[::-1],
        "input_channels": _shape(tensors, "encoder.conv_in.weight")[1],
    }


def _vae_name(key: str, stage: int) -> str:
    match = _UPSAMPLE.match(key)
    if match:
        block, position = divmod(int(match[1]), stage)
        # A stage is its residual blocks and then, but for the last stage, one upsampler.
        inner = "upsamplers.0" if position == stage - 1 else f"resnets.{position}"
        key = f"decoder.up_blocks.{block}.{inner}.{key[match.end() :]}"
    for pattern, new in _VAE_RENAMES:
        key = pattern.sub(new, key)
    return key


def _upsample_stage_length(tensors: Mapping[str, torch.Tensor]) -> int:
    resampled = _indices(tensors, r"decoder\.upsamples\.(\d+)\.resample\.")
    return min(resampled, default=3) + 1


def _indices(tensors: Mapping[str, torch.Tensor], pattern: str) -> list[int]:
    return [int(match[1]) for match in (re.match(pattern, key) for key in tensors) if match]


def _shape(tensors: Mapping[str, torch.Tensor], key: str) -> tuple[int, ...]:
    if key not in tensors:
        raise BadFile(
            f"The file lacks the tensor '{key}'.",
            hint="Use ComfyUI's qwen_3_06b_base.safetensors and qwen_image_vae.safetensors.",
        )
    return tuple(tensors[key].shape)
