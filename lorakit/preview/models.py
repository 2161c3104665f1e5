"""The two models that come out of an Anima checkpoint, built from tensors already in memory.

Every size is read from the tensors' shapes, so that a base of any depth or width works; only what
no shape can tell (rotary scales, patch size) is a constant of the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadFile, MissingComponent
from lorakit.formats.anima import diffusers_tensor_name, original_tensor_name
from lorakit.preview.devices import conditioning_dtype
from lorakit.preview.empty_models import build_empty, fill_model
from lorakit.preview.torchvision_shim import supply_nearest_resize

if TYPE_CHECKING:
    import torch
    from diffusers import AnimaTextConditioner, CosmosTransformer3DModel

ADAPTER_PREFIX = "llm_adapter."

_PATCH = (1, 2, 2)
_PATCH_AREA = 4
_ARCHITECTURE: Mapping[str, Any] = {
    "patch_size": _PATCH,
    "max_size": (128, 240, 240),
    "rope_scale": (1.0, 4.0, 4.0),
    "concat_padding_mask": True,
    "extra_pos_embed_type": None,
}
# Counters and position tables that some trainers save; the model computes what it needs of them.
_BUFFER = re.compile(r"^(pos_embedder\.|accum_)|(^|\.)_extra_state$")
_BLOCK = re.compile(r"^blocks\.(\d+)\.")


def transformer_config(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of `CosmosTransformer3DModel`, read from the shapes of `weights`.

    Args:
        weights: by original Anima names without a checkpoint prefix; the adapter may be among them.

    Raises:
        BadFile: a tensor that the sizes are read from is missing or has an impossible shape.
    """
    hidden, patch_inputs = _sizes(weights, "x_embedder.proj.1.weight", 2)
    (head_dim,) = _sizes(weights, "blocks.0.self_attn.q_norm.weight", 1)
    (outputs, _) = _sizes(weights, "final_layer.linear.weight", 2)
    return {
        **_ARCHITECTURE,
        # The padding mask is one more input channel.
        "in_channels": _quotient(patch_inputs, _PATCH_AREA, "x_embedder.proj.1.weight") - 1,
        "out_channels": _quotient(outputs, _PATCH_AREA, "final_layer.linear.weight"),
        "num_attention_heads": _quotient(hidden, head_dim, "blocks.0.self_attn.q_norm.weight"),
        "attention_head_dim": head_dim,
        "num_layers": _depth(weights),
        "mlp_ratio": _sizes(weights, "blocks.0.mlp.layer1.weight", 2)[0] / hidden,
        "text_embed_dim": _sizes(weights, "blocks.0.cross_attn.k_proj.weight", 2)[1],
        "adaln_lora_dim": _sizes(weights, "blocks.0.adaln_modulation_mlp.1.weight", 2)[0],
    }


def text_conditioner_config(adapter: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The arguments of `AnimaTextConditioner` that shapes can tell.

    Args:
        adapter: the text adapter's tensors, without the prefix `llm_adapter.`.

    Raises:
        BadFile: a tensor that the sizes are read from is missing or has an impossible shape.
    """
    vocabulary, target = _sizes(adapter, "embed.weight", 2)
    (_, model) = _sizes(adapter, "out_proj.weight", 2)
    (head_dim,) = _sizes(adapter, "blocks.0.cross_attn.q_norm.weight", 1)
    return {
        "source_dim": _sizes(adapter, "blocks.0.cross_attn.k_proj.weight", 2)[1],
        "target_dim": target,
        "model_dim": model,
        "num_layers": _depth(adapter),
        "num_attention_heads": _quotient(model, head_dim, "blocks.0.cross_attn.q_norm.weight"),
        "mlp_ratio": _sizes(adapter, "blocks.0.mlp.0.weight", 2)[0] / model,
        "target_vocab_size": vocabulary,
        "use_self_attention": "blocks.0.self_attn.q_proj.weight" in adapter,
        "use_layer_norm": "blocks.0.norm_mlp.bias" in adapter,
    }


def build_transformer(
    weights: Mapping[str, torch.Tensor], *, device: str, dtype: torch.dtype
) -> CosmosTransformer3DModel:
    """The diffusers transformer with `weights` as its parameters.

    Tensors that already have this dtype and device are used as they are, not copied.

    Args:
        weights: by original Anima names without a checkpoint prefix, of any float dtype. The
            adapter's tensors and harmless buffers are passed over.
        device: where the model is to be.
        dtype: of every parameter.

    Raises:
        BadFile: a tensor is missing, unknown or of the wrong shape; the message names it.
    """
    supply_nearest_resize()
    from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel

    config = transformer_config(weights)
    model = build_empty(lambda: CosmosTransformer3DModel(**config), what="transformer")
    names = {diffusers_tensor_name(key): key for key, _ in _dit_items(weights)}
    tensors = {name: weights[key].to(device=device, dtype=dtype) for name, key in names.items()}
    filled = fill_model(
        model,
        tensors,
        what="transformer",
        shown=lambda name: names.get(name) or original_tensor_name(name),
    )
    return filled.to(device)


def build_text_conditioner(
    weights: Mapping[str, torch.Tensor], *, min_sequence_length: int, device: str
) -> AnimaTextConditioner:
    """The text conditioner from the `llm_adapter.` part of `weights`, in float32.

    Args:
        weights: by original Anima names without a checkpoint prefix, of any float dtype.
        min_sequence_length: the number of tokens that the output is padded to.
        device: where the model is to be.

    Raises:
        MissingComponent: the checkpoint has no text adapter.
        BadFile: a tensor is missing, unknown or of the wrong shape; the message names it.
    """
    from diffusers.models.condition_embedders.condition_embedder_anima import AnimaTextConditioner

    adapter = {
        key.removeprefix(ADAPTER_PREFIX): tensor
        for key, tensor in weights.items()
        if key.startswith(ADAPTER_PREFIX)
    }
    if not adapter:
        raise MissingComponent(
            "The checkpoint has no text adapter (no tensors under 'llm_adapter.'), "
            "so prompts cannot be turned into conditioning.",
            hint="Use a checkpoint saved with its adapter: the official Anima files and RDBT have "
            "it; a merge or a block-swapped file may have lost it.",
        )
    config = {**text_conditioner_config(adapter), "min_sequence_length": min_sequence_length}
    model = build_empty(lambda: AnimaTextConditioner(**config), what="text adapter")
    tensors = {
        key: tensor.to(device=device, dtype=conditioning_dtype())
        for key, tensor in adapter.items()
        if not _BUFFER.search(key)
    }
    return fill_model(
        model, tensors, what="text adapter", shown=lambda key: ADAPTER_PREFIX + key
    ).to(device)


def _dit_items(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for key, tensor in weights.items():
        if not key.startswith(ADAPTER_PREFIX) and not _BUFFER.search(key):
            yield key, tensor


def _sizes(weights: Mapping[str, torch.Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    if key not in weights:
        raise BadFile(
            f"The model lacks the tensor '{key}', so its size cannot be read.",
            hint="The file is incomplete, or not an Anima checkpoint.",
        )
    shape = tuple(weights[key].shape)
    if len(shape) != dimensions or min(shape) < 1:
        raise BadFile(
            f"The tensor '{key}' has the shape {list(shape)}; {dimensions} dimensions are expected.",
            hint="The file is damaged or not of the Anima architecture.",
        )
    return shape


def _quotient(size: int, divisor: int, key: str) -> int:
    if size % divisor or size < divisor:
        raise BadFile(
            f"The tensor '{key}' does not fit the Anima architecture: "
            f"{size} is not a multiple of {divisor}.",
            hint="The file is damaged or not of the Anima architecture.",
        )
    return size // divisor


def _depth(weights: Mapping[str, torch.Tensor]) -> int:
    found = (_BLOCK.match(key) for key in weights)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
