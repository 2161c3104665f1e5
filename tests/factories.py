"""Files of every kind, made by struct and json alone, so that a test needs no tensor library.

Shapes are those of the published model, written out here and not taken from lorakit's own tables: a test
that compares the two means something.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

# dtype, shape and bytes; None for zeros, which then take no room on disk.
Payload = tuple[str, tuple[int, ...], bytes | None]
Shapes = Mapping[str, tuple[int, int]]

DTYPE_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I8": 1, "F8_E4M3": 1}
_PACKING = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I8": "<b"}

WIDTH, TEXT_WIDTH, ADALN, MLP = 2048, 1024, 256, 8192
ADAPTER_BLOCKS, TEXT_LAYERS = 6, 28


def zeros(dtype: str, shape: Iterable[int]) -> Payload:
    """A tensor of zeros that takes no room on disk, however large."""
    return dtype, tuple(shape), None


def number(value: float, dtype: str = "F32", shape: tuple[int, ...] = ()) -> Payload:
    """One number, as trainers store alpha. For an fp16 that overflowed, pass `math.inf`."""
    if dtype == "BF16":
        return dtype, shape, struct.pack("<f", value)[2:]
    return dtype, shape, struct.pack(_PACKING[dtype], value)


def write_safetensors(
    path: Path, tensors: Mapping[str, Payload], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write `tensors` in their order; zeros become holes in the file."""
    document: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    end = 0
    for name, (dtype, shape, payload) in tensors.items():
        size = prod(shape) * DTYPE_BYTES[dtype] if payload is None else len(payload)
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(document).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for name, (_, _, payload) in tensors.items():
            if payload is not None:
                file.seek(8 + len(raw) + document[name]["data_offsets"][0])
                file.write(payload)
        file.truncate(8 + len(raw) + end)
    return path


# --- The model -----------------------------------------------------------------------------------


def _block_linears() -> dict[str, tuple[int, int]]:
    found = {f"self_attn.{x}_proj": (WIDTH, WIDTH) for x in ("q", "k", "v", "output")}
    found |= {f"cross_attn.{x}_proj": (WIDTH, WIDTH) for x in ("q", "output")}
    found |= {f"cross_attn.{x}_proj": (WIDTH, TEXT_WIDTH) for x in "kv"}
    found |= {"mlp.layer1": (MLP, WIDTH), "mlp.layer2": (WIDTH, MLP)}
    for branch in ("self_attn", "cross_attn", "mlp"):
        found[f"adaln_modulation_{branch}.1"] = (ADALN, WIDTH)
        found[f"adaln_modulation_{branch}.2"] = (3 * WIDTH, ADALN)
    return found


_ATTENTIONS = ("self_attn", "cross_attn")
BLOCK_LINEARS: Shapes = _block_linears()
ROOT_LINEARS: Shapes = {
    "x_embedder.proj.1": (WIDTH, 68),
    "t_embedder.1.linear_1": (WIDTH, WIDTH),
    "t_embedder.1.linear_2": (3 * WIDTH, WIDTH),
    "final_layer.linear": (64, WIDTH),
    "final_layer.adaln_modulation.1": (ADALN, WIDTH),
    "final_layer.adaln_modulation.2": (2 * WIDTH, ADALN),
}
ADAPTER_LINEARS: Shapes = {
    **{f"{a}.{x}_proj": (TEXT_WIDTH, TEXT_WIDTH) for a in _ATTENTIONS for x in "qkvo"},
    "mlp.0": (4 * TEXT_WIDTH, TEXT_WIDTH),
    "mlp.2": (TEXT_WIDTH, 4 * TEXT_WIDTH),
}
TEXT_LINEARS: Shapes = {
    "self_attn.q_proj": (2048, TEXT_WIDTH),
    "self_attn.k_proj": (1024, TEXT_WIDTH),
    "self_attn.v_proj": (1024, TEXT_WIDTH),
    "self_attn.o_proj": (TEXT_WIDTH, 2048),
    "mlp.gate_proj": (3072, TEXT_WIDTH),
    "mlp.up_proj": (3072, TEXT_WIDTH),
    "mlp.down_proj": (TEXT_WIDTH, 3072),
}


def _numbered(stem: str, count: int, inside: Shapes) -> dict[str, tuple[int, int]]:
    return {f"{stem}.{i}.{name}": inside[name] for i, name in product(range(count), inside)}


def dit_shapes(blocks: int = 28) -> dict[str, tuple[int, int]]:
    """Every linear layer of the diffusion transformer, as (out, in)."""
    return _numbered("blocks", blocks, BLOCK_LINEARS) | dict(ROOT_LINEARS)


ADAPTER_SHAPES: Shapes = {
    **_numbered("llm_adapter.blocks", ADAPTER_BLOCKS, ADAPTER_LINEARS),
    "llm_adapter.out_proj": (TEXT_WIDTH, TEXT_WIDTH),
}
TEXT_SHAPES: Shapes = _numbered("text_encoder.layers", TEXT_LAYERS, TEXT_LINEARS)
# Every linear layer in a 28-block checkpoint: the transformer and its text adapter.
ANIMA_SHAPES: Shapes = {**dit_shapes(), **ADAPTER_SHAPES}
# The ten linear layers per block that most trainers touch by default.
USUAL_SHAPES: Shapes = {
    name: shape
    for name, shape in ANIMA_SHAPES.items()
    if name.startswith("blocks.") and "adaln" not in name
}


def checkpoint_shapes(blocks: int = 28, prefix: str = "net.") -> dict[str, tuple[int, ...]]:
    """Every tensor of a full checkpoint with its shape, in no particular order."""
    found: dict[str, tuple[int, ...]] = {
        f"{name}.weight": shape for name, shape in {**dit_shapes(blocks), **ADAPTER_SHAPES}.items()
    }
    for i, a, x in product(range(blocks), _ATTENTIONS, "qk"):
        found[f"blocks.{i}.{a}.{x}_norm.weight"] = (128,)
    found["t_embedding_norm.weight"] = (WIDTH,)
    for j in range(ADAPTER_BLOCKS):
        block = f"llm_adapter.blocks.{j}"
        found |= {f"{block}.{a}.{x}_norm.weight": (64,) for a in _ATTENTIONS for x in "qk"}
        found |= {f"{block}.norm_{x}.weight": (TEXT_WIDTH,) for x in (*_ATTENTIONS, "mlp")}
        found[f"{block}.mlp.0.bias"] = (4 * TEXT_WIDTH,)
        found[f"{block}.mlp.2.bias"] = (TEXT_WIDTH,)
    found["llm_adapter.embed.weight"] = (32128, TEXT_WIDTH)
    found["llm_adapter.out_proj.bias"] = found["llm_adapter.norm.weight"] = (TEXT_WIDTH,)
    return {prefix + name: shape for name, shape in found.items()}


# --- Adapters ------------------------------------------------------------------------------------

_DIFFUSERS_NAMES = (
    (r"^blocks\.", "transformer_blocks."),
    (r"self_attn\.output_proj", "attn1.to_out.0"),
    (r"cross_attn\.output_proj", "attn2.to_out.0"),
    (r"\.self_attn\.([qkv])_proj", r".attn1.to_\1"),
    (r"\.cross_attn\.([qkv])_proj", r".attn2.to_\1"),
    (r"mlp\.layer1", "ff.net.0.proj"),
    (r"mlp\.layer2", "ff.net.2"),
    (r"adaln_modulation_self_attn\.", "norm1.linear_"),
    (r"adaln_modulation_cross_attn\.", "norm2.linear_"),
    (r"adaln_modulation_mlp\.", "norm3.linear_"),
    (r"^x_embedder\.proj\.1", "patch_embed.proj"),
    (r"^t_embedder\.1\.", "time_embed.t_embedder."),
    (r"^final_layer\.adaln_modulation\.", "norm_out.linear_"),
    (r"^final_layer\.linear", "proj_out"),
)


def _diffusers(module: str) -> str:
    if module.startswith("llm_adapter."):
        return module.replace("llm_adapter.", "text_conditioner.", 1)
    if module.startswith("text_encoder."):
        return module
    for pattern, name in _DIFFUSERS_NAMES:
        module = re.sub(pattern, name, module)
    return f"transformer.{module}"


def _kohya(module: str) -> str:
    stem = "lora_te_" if module.startswith("text_encoder.") else "lora_unet_"
    return stem + module.removeprefix("text_encoder.").replace(".", "_")


def _comfy(module: str) -> str:
    if module.startswith("text_encoder."):
        return module.replace("text_encoder.", "text_encoders.qwen3_06b.transformer.model.", 1)
    return f"diffusion_model.{module}"


LAYOUTS: Mapping[str, Callable[[str], str]] = {
    "kohya": _kohya,
    "comfy": _comfy,
    "diffusers": _diffusers,
    "peft": lambda module: f"base_model.model.{module}",
    "original": lambda module: f"net.{module}",
    "lycoris": lambda module: "lycoris_" + module.replace(".", "_"),
}


def lora_tensors(
    layout: str,
    modules: Shapes,
    rank: int,
    *,
    alpha: float | None = None,
    dtype: str = "BF16",
    make: Callable[[str, tuple[int, ...]], Payload] = zeros,
) -> dict[str, Payload]:
    """A LoRA of `modules` in one of `LAYOUTS`; `make(dtype, shape)` gives each factor."""
    flat = layout in ("kohya", "lycoris")
    down, up = ("lora_down", "lora_up") if flat else ("lora_A", "lora_B")
    found: dict[str, Payload] = {}
    for module, (rows, columns) in modules.items():
        key = LAYOUTS[layout](module)
        found[f"{key}.{down}.weight"] = make(dtype, (rank, columns))
        found[f"{key}.{up}.weight"] = make(dtype, (rows, rank))
        if alpha is not None:
            found[f"{key}.alpha"] = number(alpha)
    return found
