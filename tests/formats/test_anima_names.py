"""Every name of every module is known in every scheme, and no other model's names are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lorakit.formats import anima
from lorakit.formats.layouts import (
    WRITABLE,
    WritableLayout,
    has_place,
    module_prefix,
    parse_key,
)
from tests.factories import (
    ANIMA_SHAPES,
    BLOCK_LINEARS,
    LAYOUTS,
    TEXT_SHAPES,
    checkpoint_shapes,
)

TEXT_NORMS = [
    *(f"text_encoder.layers.{n}.self_attn.{x}_norm" for n in range(28) for x in "qk"),
    *(f"text_encoder.layers.{n}.input_layernorm" for n in range(28)),
    *(f"text_encoder.layers.{n}.post_attention_layernorm" for n in range(28)),
    "text_encoder.embed_tokens",
    "text_encoder.norm",
]


def model_modules(blocks: int) -> list[str]:
    """Every module that holds a tensor, norms included."""
    keys = checkpoint_shapes(blocks, prefix="")
    return list(dict.fromkeys(key.rpartition(".")[0] for key in keys))


MODULES = [*model_modules(52), *TEXT_SHAPES, *TEXT_NORMS]


@pytest.mark.parametrize("blocks", [28, 40, 52])
def test_flattening_never_gives_two_modules_one_name(blocks: int) -> None:
    modules = [*model_modules(blocks), *TEXT_SHAPES]
    stems = ["te" if name.startswith("text_encoder.") else "unet" for name in modules]
    flat = {(stem, anima.to_flat(name)) for stem, name in zip(stems, modules, strict=True)}
    assert len(flat) == len(modules)


def test_the_largest_model_has_the_published_number_of_names() -> None:
    assert len({anima.to_flat(name) for name in model_modules(52)}) == 1152


def test_every_module_is_known_and_sorted_into_its_component() -> None:
    for name in MODULES:
        assert anima.is_module(name), name
        stem = name.split(".")[0]
        expected = stem if stem in ("llm_adapter", "text_encoder") else "dit"
        assert anima.component_of(name) == expected


def test_every_module_finds_its_way_back_from_its_flat_name() -> None:
    for name in MODULES:
        text = name.startswith("text_encoder.")
        assert anima.from_flat(anima.to_flat(name), text_encoder=text) == name


def test_every_transformer_module_finds_its_way_back_from_its_diffusers_name() -> None:
    for name in MODULES:
        if anima.component_of(name) == "dit":
            path = anima.to_diffusers(name)
            assert path != name
            assert anima.from_diffusers(path) == name
            assert anima.from_flat_diffusers(path.replace(".", "_")) == name


def test_renaming_for_diffusers_leaves_the_text_adapter_alone() -> None:
    for key in checkpoint_shapes(prefix=""):
        renamed = anima.diffusers_tensor_name(key)
        assert (renamed == key) == key.startswith("llm_adapter.")
        assert anima.original_tensor_name(renamed) == key


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_module_is_read_from_every_layout(layout: str) -> None:
    for name in [
        *ANIMA_SHAPES,
        *(TEXT_SHAPES if layout in ("kohya", "comfy", "diffusers") else ()),
    ]:
        parsed = parse_key(f"{LAYOUTS[layout](name)}.lora_down.weight")
        assert parsed is not None, name
        assert (parsed.module, parsed.part, parsed.layout) == (name, "down", layout)


# What files of a layout are said to hold, in the names of the factories.
WRITTEN: dict[str, Callable[[str], str]] = {
    **{layout: LAYOUTS[layout] for layout in ("kohya", "comfy", "diffusers")},
    "onetrainer": LAYOUTS["original"],
    "lycoris": lambda n: LAYOUTS["kohya"](n).replace("lora_unet_", "lycoris_", 1),
    "peft": lambda n: LAYOUTS["diffusers"](n).replace("transformer.", "base_model.model.", 1),
}


@pytest.mark.parametrize("layout", WRITABLE)
def test_every_module_is_written_as_the_trainers_write_it(layout: WritableLayout) -> None:
    held = [name for name in [*ANIMA_SHAPES, *TEXT_SHAPES] if has_place(name, layout)]
    assert len(held) >= 28 * 16
    for name in held:
        assert module_prefix(name, layout) == WRITTEN[layout](name)


@pytest.mark.parametrize(
    "prefix",
    ["", "net.", "model.diffusion_model.", "diffusion_model.", "transformer.", "base_model.model."],
)
def test_original_names_are_read_behind_every_prefix(prefix: str) -> None:
    for name in ANIMA_SHAPES:
        parsed = parse_key(f"{prefix}{name}.lora_A.weight")
        assert parsed is not None
        assert parsed.module == name


def test_each_linear_of_a_block_has_its_kind() -> None:
    for inner in BLOCK_LINEARS:
        stem = inner.split(".")[0]
        expected = "adaln" if stem.startswith("adaln") else stem
        assert anima.kind_of(f"blocks.7.{inner}") == expected
        assert anima.block_of(f"blocks.7.{inner}") == 7
        assert inner in anima.BLOCK_LINEARS[anima.kind_of(f"blocks.7.{inner}")]
    for name in ("final_layer.linear", "llm_adapter.blocks.0.mlp.0", "text_encoder.norm"):
        assert anima.kind_of(name) == "root"
        assert anima.block_of(name) is None


OTHER_MODELS = [
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
    "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
    "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
    "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
    "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
    "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
    "transformer.transformer_blocks.0.norm1.linear.lora_A.weight",
    "transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight",
    "transformer.transformer_blocks.0.img_mlp.net.0.proj.lora_A.weight",
    "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
    "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight",
    "diffusion_model.blocks.0.ffn.0.lora_A.weight",
    "lora_unet_blocks_0_self_attn_q.lora_down.weight",
    "diffusion_model.layers.0.attention.qkv.lora_A.weight",
    "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
]
NEAR_MISSES = [
    "diffusion_model.blocks.00.mlp.layer1.lora_A.weight",
    "diffusion_model.blocks.\N{ARABIC-INDIC DIGIT THREE}.mlp.layer1.lora_A.weight",
    "diffusion_model.blocks.-1.mlp.layer1.lora_A.weight",
    "diffusion_model.blocks.0_mlp.layer1.lora_A.weight",
    "diffusion_model.blocks..mlp.layer1.lora_A.weight",
    "lora_unet_blocks_01_mlp_layer1.lora_down.weight",
    "lora_unet_blocks_0.mlp_layer1.lora_down.weight",
    "lora_unet_llm_adapter_blocks_0_self_attn_output_proj.lora_down.weight",
    "lora_unet_blocks_0_self_attn_o_proj.lora_down.weight",
    "lora_te_blocks_0_mlp_layer1.lora_down.weight",
    f"transformer.transformer_blocks.{'9' * 5000}.attn1.to_q.lora_A.weight",
    f"diffusion_model.blocks.{'9' * 5000}.mlp.layer1.lora_A.weight",
    "transformer.llm_adapter.transformer_blocks.0.attn1.to_q.lora_A.weight",
    "diffusion_model.blocks.0.mlp.layer1",
    "diffusion_model.blocks.0.mlp.layer1.lora_A",
    "lora_down.weight",
    ".lora_down.weight",
    "",
]


@pytest.mark.parametrize("key", [*OTHER_MODELS, *NEAR_MISSES], ids=lambda key: key[:60])
def test_a_name_of_another_model_is_not_taken_for_animas(key: str) -> None:
    assert parse_key(key) is None


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [28, 52])
def test_diffusers_converts_a_checkpoint_to_the_same_names(blocks: int) -> None:
    import torch
    from diffusers.loaders import single_file_utils

    shapes = checkpoint_shapes(blocks)
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    trunk = {key: tensor for key, tensor in state.items() if "llm_adapter" not in key}
    converted = single_file_utils.convert_cosmos_transformer_checkpoint_to_diffusers(trunk)
    ours = {
        anima.diffusers_tensor_name(key.removeprefix("net.")): shape
        for key, shape in shapes.items()
        if "llm_adapter" not in key
    }
    assert {key: tuple(tensor.shape) for key, tensor in converted.items()} == ours
