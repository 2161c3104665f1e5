"""A small Anima-architecture model of random weights, for the demo and for tests.

It has every part that a real model has, of the real classes, so that it goes through the same
doors. It has learnt nothing: its pictures are coloured texture that follows the seed, the prompt
and the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lorakit.adapters.tensor_file import write_tensors
from lorakit.formats.anima import original_tensor_name
from lorakit.preview.demo_tokenizers import write_qwen_tokenizer, write_t5_tokenizer
from lorakit.preview.quiet import quiet_libraries
from lorakit.preview.torchvision_shim import supply_nearest_resize

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel
    from torch import nn

CHECKPOINT_NAME = "demo-base.safetensors"
METADATA: Mapping[str, str] = {
    "format": "pt",
    "modelspec.title": "lorakit demo base",
    "modelspec.description": "A small model of the Anima architecture with random weights, made by "
    "lorakit for its demo. It has learnt nothing.",
}

_TEXT_DIM = 64
_TOKENS = 64
_TRANSFORMER: Mapping[str, Any] = {
    "in_channels": 16,
    "out_channels": 16,
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "num_layers": 8,
    "mlp_ratio": 4.0,
    "text_embed_dim": _TEXT_DIM,
    "adaln_lora_dim": 32,
    "max_size": (128, 240, 240),
    "patch_size": (1, 2, 2),
    "rope_scale": (1.0, 4.0, 4.0),
    "concat_padding_mask": True,
    "extra_pos_embed_type": None,
}
_CONDITIONER: Mapping[str, Any] = {
    "source_dim": _TEXT_DIM,
    "target_dim": _TEXT_DIM,
    "model_dim": _TEXT_DIM,
    "num_layers": 2,
    "num_attention_heads": 4,
    "min_sequence_length": _TOKENS,
}
_TEXT_ENCODER: Mapping[str, Any] = {
    "hidden_size": _TEXT_DIM,
    "intermediate_size": 2 * _TEXT_DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": True,
}
_VAE: Mapping[str, Any] = {
    "base_dim": 8,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
# Chosen by looking at pictures.
_ROUGHNESS = 0.4
_FORGET = 6.0
_FORMS = 6.0
_FOCUS = 2.0
_CONTRAST = 0.8


@dataclass(frozen=True)
class DemoModel:
    """What was written: a single-file checkpoint, and a diffusers folder of the other parts."""

    checkpoint: Path
    components: Path


def write_demo_model(folder: Path, *, seed: int = 0) -> DemoModel:
    """Write the demo model into `folder` (about 9 MB); the same seed gives the same weights.

    The checkpoint is in bfloat16 under original Anima names with the prefix `net.`, the text
    adapter under `net.llm_adapter.`.
    """
    supply_nearest_resize()
    generator = torch.Generator().manual_seed(seed)
    components = folder / "components"
    components.mkdir(parents=True, exist_ok=True)
    # Constructing a model draws from the global generator, which belongs to the caller.
    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        words = write_qwen_tokenizer(components / "tokenizer")
        pieces = write_t5_tokenizer(components / "t5_tokenizer")
        _write_text_encoder(components / "text_encoder", words, generator)
        _write_vae(components / "vae", generator)
        _write_scheduler(components / "scheduler")
        checkpoint = _write_checkpoint(folder / CHECKPOINT_NAME, components, pieces, generator)
    return DemoModel(checkpoint, components)


def _write_text_encoder(folder: Path, vocabulary: int, generator: torch.Generator) -> None:
    from transformers import Qwen3Config, Qwen3Model

    model = Qwen3Model(Qwen3Config(vocab_size=vocabulary, **_TEXT_ENCODER))
    _randomise(model, generator)
    model.save_pretrained(folder)


def _write_vae(folder: Path, generator: torch.Generator) -> None:
    from diffusers import AutoencoderKLQwenImage

    model = AutoencoderKLQwenImage(**_VAE)
    _randomise(model, generator)
    # As drawn, most colours would be clamped to the corners of the cube.
    model.decoder.conv_out.weight.data.mul_(_CONTRAST)
    model.save_pretrained(folder)


def _write_scheduler(folder: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder)


def _write_checkpoint(
    path: Path, components: Path, vocabulary: int, generator: torch.Generator
) -> Path:
    from diffusers import AnimaTextConditioner, CosmosTransformer3DModel

    conditioner = AnimaTextConditioner(target_vocab_size=vocabulary, **_CONDITIONER)
    conditioner.save_config(components / "text_conditioner")
    transformer = CosmosTransformer3DModel(**_TRANSFORMER)
    _randomise(transformer, generator)
    _arrange(transformer)
    _randomise(conditioner, generator)
    tensors = {
        f"net.{original_tensor_name(key)}": tensor
        for key, tensor in transformer.state_dict().items()
    }
    tensors |= {
        f"net.llm_adapter.{key}": tensor for key, tensor in conditioner.state_dict().items()
    }
    stored = {key: tensor.to(torch.bfloat16).contiguous() for key, tensor in tensors.items()}
    write_tensors(path, stored, METADATA)
    return path


@torch.no_grad()
def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every matrix and kernel anew; norms and biases keep their start of one and zero."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 2:
            fan_in = parameter.shape[1]
            parameter.normal_(0.0, 1.0 / math.sqrt(fan_in), generator=generator)
        elif parameter.ndim > 3 and "gamma" not in name:
            _draw_kernel(parameter, generator)


def _draw_kernel(parameter: torch.Tensor, generator: torch.Generator) -> None:
    """A convolution that mixes channels at random and smooths space, so that pictures have forms.

    A kernel over time sees one frame of a picture, so its reach in time adds nothing to the gain.
    """
    outputs, inputs, *reach = parameter.shape
    mixing = torch.randn(outputs, inputs, *[1] * len(reach), generator=generator)
    bump = torch.tensor([1.0, 2.0, 1.0]) / 4.0
    kernel = torch.outer(bump, bump) if reach[-1] == 3 else torch.ones(1, 1)
    rough = torch.randn(parameter.shape, generator=generator) * (_ROUGHNESS / 3.0)
    parameter.copy_((mixing * kernel + rough) / math.sqrt(inputs))


@torch.no_grad()
def _arrange(model: CosmosTransformer3DModel) -> None:
    """Arrange the drawn weights so that the flow leads from noise to forms.

    Left as drawn, the last layer would add a little to the noise and every picture would be that
    noise. So it reads the latents back out of the stream and takes them away, and what the blocks
    have put there instead is written to all four latents of a patch alike.
    """
    hidden, channels = model.proj_out.in_features, model.config.out_channels
    reading = model.patch_embed.proj.weight[:, : 4 * channels]
    # In comes a patch as (channel, row, column), out it goes as (row, column, channel).
    back = reading.reshape(hidden, channels, 4).permute(2, 1, 0)
    forms = model.proj_out.weight.reshape(4, channels, hidden)[:1]
    written = _FORGET * back * (reading.shape[1] / hidden) - _FORMS * forms
    model.proj_out.weight.copy_(written.reshape(4 * channels, hidden))
    # Shifts are the same everywhere and would drown what differs from place to place.
    for linear in _modulations(model):
        linear.weight[:hidden] = 0.0
    for block in model.transformer_blocks:
        # With keys like the queries, a place attends to what is like it and near it.
        block.attn1.to_k.weight.copy_(block.attn1.to_q.weight)
        for attention in (block.attn1, block.attn2):
            attention.norm_q.weight.fill_(_FOCUS)


def _modulations(model: CosmosTransformer3DModel) -> Iterator[nn.Linear]:
    yield model.time_embed.t_embedder.linear_2
    yield model.norm_out.linear_2
    for block in model.transformer_blocks:
        yield from (block.norm1.linear_2, block.norm2.linear_2, block.norm3.linear_2)
