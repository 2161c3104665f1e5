"""The Anima module table: what every module is called, in every naming scheme.

lorakit's canonical names are the original ones: `blocks.0.self_attn.q_proj` for the diffusion
transformer, `llm_adapter.blocks.0...` for the text adapter inside the checkpoint and
`text_encoder.layers.0...` for Qwen3. Other schemes are looked up in tables built from them and never
un-flattened by guesswork, since names such as `adaln_modulation_self_attn` hold underscores too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Component = Literal["dit", "llm_adapter", "text_encoder"]
Kind = Literal["self_attn", "cross_attn", "mlp", "adaln", "root"]

COMPONENTS: tuple[Component, ...] = ("dit", "llm_adapter", "text_encoder")
KINDS: tuple[Kind, ...] = ("self_attn", "cross_attn", "mlp", "adaln")

# Linear layers of one transformer block; the adapters of most trainers touch the first ten.
BLOCK_LINEARS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "self_attn": tuple(f"self_attn.{x}_proj" for x in ("q", "k", "v", "output")),
        "cross_attn": tuple(f"cross_attn.{x}_proj" for x in ("q", "k", "v", "output")),
        "mlp": ("mlp.layer1", "mlp.layer2"),
        "adaln": tuple(
            f"adaln_modulation_{branch}.{i}"
            for branch in ("self_attn", "cross_attn", "mlp")
            for i in (1, 2)
        ),
    }
)
_BLOCK_NORMS = tuple(f"{a}.{x}_norm" for a in ("self_attn", "cross_attn") for x in ("q", "k"))
_ROOT = (
    "x_embedder.proj.1",
    "t_embedder.1.linear_1",
    "t_embedder.1.linear_2",
    "t_embedding_norm",
    "final_layer.linear",
    "final_layer.adaln_modulation.1",
    "final_layer.adaln_modulation.2",
)
_ADAPTER_BLOCK = (
    *(f"{a}.{x}_proj" for a in ("self_attn", "cross_attn") for x in "qkvo"),
    *(f"{a}.{x}_norm" for a in ("self_attn", "cross_attn") for x in "qk"),
    *(f"norm_{x}" for x in ("self_attn", "cross_attn", "mlp")),
    "mlp.0",
    "mlp.2",
)
_ADAPTER_ROOT = ("embed", "out_proj", "norm")
_TEXT_LAYER = (
    *(f"self_attn.{x}_proj" for x in "qkvo"),
    *(f"self_attn.{x}_norm" for x in "qk"),
    *(f"mlp.{x}_proj" for x in ("gate", "up", "down")),
    "input_layernorm",
    "post_attention_layernorm",
)
_TEXT_ROOT = ("embed_tokens", "norm")

_BLOCK = frozenset(name for group in BLOCK_LINEARS.values() for name in group) | frozenset(
    _BLOCK_NORMS
)
# (pattern of the stem, names inside a numbered block, names at the root), longest stem first.
_TREES: tuple[tuple[str, str, frozenset[str], frozenset[str]], ...] = (
    ("llm_adapter.", "blocks", frozenset(_ADAPTER_BLOCK), frozenset(_ADAPTER_ROOT)),
    ("text_encoder.", "layers", frozenset(_TEXT_LAYER), frozenset(_TEXT_ROOT)),
    ("", "blocks", _BLOCK, frozenset(_ROOT)),
)

_DIFFUSERS_BLOCK: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"{ours}.{x}_proj": f"{theirs}.to_{x}"
            for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
            for x in "qkv"
        },
        "self_attn.output_proj": "attn1.to_out.0",
        "cross_attn.output_proj": "attn2.to_out.0",
        **{
            f"{ours}.{x}_norm": f"{theirs}.norm_{x}"
            for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
            for x in "qk"
        },
        "mlp.layer1": "ff.net.0.proj",
        "mlp.layer2": "ff.net.2",
        **{
            f"adaln_modulation_{branch}.{i}": f"norm{n}.linear_{i}"
            for n, branch in enumerate(("self_attn", "cross_attn", "mlp"), start=1)
            for i in (1, 2)
        },
    }
)
_DIFFUSERS_ROOT: Mapping[str, str] = MappingProxyType(
    {
        "x_embedder.proj.1": "patch_embed.proj",
        "t_embedder.1.linear_1": "time_embed.t_embedder.linear_1",
        "t_embedder.1.linear_2": "time_embed.t_embedder.linear_2",
        "t_embedding_norm": "time_embed.norm",
        "final_layer.adaln_modulation.1": "norm_out.linear_1",
        "final_layer.adaln_modulation.2": "norm_out.linear_2",
        "final_layer.linear": "proj_out",
    }
)


def _inverse(table: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({value: key for key, value in table.items()})


def _flat(names: frozenset[str]) -> Mapping[str, str]:
    return MappingProxyType({name.replace(".", "_"): name for name in names})


_ORIGINAL_BLOCK = _inverse(_DIFFUSERS_BLOCK)
_ORIGINAL_ROOT = _inverse(_DIFFUSERS_ROOT)
_FLAT_TREES = tuple(
    (stem, blocks, _flat(inside), _flat(root)) for stem, blocks, inside, root in _TREES
)
_FLAT_DIFFUSERS_BLOCK = _flat(frozenset(_ORIGINAL_BLOCK))
_FLAT_DIFFUSERS_ROOT = _flat(frozenset(_ORIGINAL_ROOT))
# One spelling per block: no leading zero, no digit of another script.
_INDEX = r"(0|[1-9][0-9]{0,3})"
_NUMBERED = re.compile(rf"{_INDEX}\.(.+)")
_NUMBERED_FLAT = re.compile(rf"{_INDEX}_(.+)")
_EMBEDDINGS = (".embed", ".embed_tokens")
_BLOCK_NAME = re.compile(rf"blocks\.{_INDEX}\.(.+)")
_DIFFUSERS_NAME = re.compile(rf"transformer_blocks\.{_INDEX}\.(.+)")
_FLAT_DIFFUSERS_NAME = re.compile(rf"transformer_blocks_{_INDEX}_(.+)")


def is_module(name: str) -> bool:
    """Whether `name` is a canonical module name, for any number of blocks."""
    for stem, blocks, inside, root in _TREES:
        if not name.startswith(stem):
            continue
        rest = name.removeprefix(stem)
        if rest in root:
            return True
        match = _NUMBERED.fullmatch(rest.removeprefix(f"{blocks}."))
        return bool(match and rest.startswith(f"{blocks}.") and match[2] in inside)
    return False


def from_flat(flat: str, *, text_encoder: bool = False) -> str | None:
    """The canonical name of a kohya name without its prefix: `blocks_0_mlp_layer1`.

    `text_encoder` says that the prefix named the text encoder (`lora_te_layers_0_mlp_up_proj`).
    """
    for stem, blocks, inside, root in _FLAT_TREES:
        if text_encoder != (stem == "text_encoder."):
            continue
        flat_stem = "" if text_encoder else stem.replace(".", "_")
        if not flat.startswith(flat_stem):
            continue
        rest = flat.removeprefix(flat_stem)
        if rest in root:
            return stem + root[rest]
        match = _NUMBERED_FLAT.fullmatch(rest.removeprefix(f"{blocks}_"))
        if match and rest.startswith(f"{blocks}_") and match[2] in inside:
            return f"{stem}{blocks}.{match[1]}.{inside[match[2]]}"
    return None


def to_flat(module: str) -> str:
    """A canonical name as kohya flattens it, without prefix (text encoder: from `layers_`)."""
    return module.removeprefix("text_encoder.").replace(".", "_")


def to_diffusers(module: str) -> str:
    """The path of a `dit` module in diffusers' CosmosTransformer3DModel; unknown names stay."""
    match = _BLOCK_NAME.fullmatch(module)
    if match and match[2] in _DIFFUSERS_BLOCK:
        return f"transformer_blocks.{match[1]}.{_DIFFUSERS_BLOCK[match[2]]}"
    return _DIFFUSERS_ROOT.get(module, module)


def from_diffusers(path: str) -> str | None:
    """The canonical name of a path inside diffusers' CosmosTransformer3DModel."""
    match = _DIFFUSERS_NAME.fullmatch(path)
    if match:
        inner = _ORIGINAL_BLOCK.get(match[2])
        return f"blocks.{match[1]}.{inner}" if inner else None
    return _ORIGINAL_ROOT.get(path)


def diffusers_tensor_name(key: str) -> str:
    """A tensor `blocks.0.mlp.layer1.weight` as diffusers' transformer calls it."""
    module, _, leaf = key.rpartition(".")
    return f"{to_diffusers(module)}.{leaf}"


def original_tensor_name(key: str) -> str:
    """The inverse of `diffusers_tensor_name`; a name that diffusers does not have stays."""
    module, _, leaf = key.rpartition(".")
    return f"{from_diffusers(module) or module}.{leaf}"


def from_flat_diffusers(flat: str) -> str | None:
    """The canonical name of a flattened diffusers path: `transformer_blocks_0_attn1_to_q`."""
    match = _FLAT_DIFFUSERS_NAME.fullmatch(flat)
    if match:
        inner = _FLAT_DIFFUSERS_BLOCK.get(match[2])
        return from_diffusers(f"transformer_blocks.{match[1]}.{inner}") if inner else None
    path = _FLAT_DIFFUSERS_ROOT.get(flat)
    return from_diffusers(path) if path else None


def component_of(module: str) -> Component:
    """The component that a canonical module name belongs to."""
    if module.startswith("llm_adapter."):
        return "llm_adapter"
    return "text_encoder" if module.startswith("text_encoder.") else "dit"


def kind_or_component(module: str) -> str:
    """The kind of a module of the transformer, as `kind_of` gives it, and the component of any other."""
    component = component_of(module)
    return kind_of(module) if component == "dit" else component


def block_of(module: str) -> int | None:
    """The transformer block of a `dit` module, None outside the blocks or the transformer."""
    match = _BLOCK_NAME.fullmatch(module)
    return int(match[1]) if match else None


def is_embedding(module: str) -> bool:
    """Whether a module is a table of words. Its norm is many times that of the layers that are trained."""
    return module.endswith(_EMBEDDINGS)


def kind_of(module: str) -> Kind:
    """self_attn, cross_attn, mlp or adaln for a module inside a block, else root."""
    if component_of(module) != "dit" or block_of(module) is None:
        return "root"
    inner = module.split(".", 2)[2]
    if inner.startswith("adaln_"):
        return "adaln"
    first = inner.split(".", 1)[0]
    return "self_attn" if first == "self_attn" else "cross_attn" if first == "cross_attn" else "mlp"
