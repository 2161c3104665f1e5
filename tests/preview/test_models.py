import pytest
import torch

from lorakit.errors import BadFile, MissingComponent
from lorakit.formats.anima import diffusers_tensor_name
from lorakit.preview.models import (
    build_text_conditioner,
    build_transformer,
    text_conditioner_config,
    transformer_config,
)

F32 = torch.float32


def anima_shapes(blocks: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of a full-size Anima checkpoint, as published, without a prefix."""
    shapes: dict[str, tuple[int, ...]] = {
        "x_embedder.proj.1.weight": (2048, 68),
        "t_embedder.1.linear_1.weight": (2048, 2048),
        "t_embedder.1.linear_2.weight": (6144, 2048),
        "t_embedding_norm.weight": (2048,),
        "final_layer.linear.weight": (64, 2048),
        "final_layer.adaln_modulation.1.weight": (256, 2048),
        "final_layer.adaln_modulation.2.weight": (4096, 256),
        "llm_adapter.embed.weight": (32128, 1024),
        "llm_adapter.out_proj.weight": (1024, 1024),
        "llm_adapter.out_proj.bias": (1024,),
        "llm_adapter.norm.weight": (1024,),
    }
    for i in range(blocks):
        block = f"blocks.{i}."
        for attention, context in (("self_attn", 2048), ("cross_attn", 1024)):
            shapes[f"{block}{attention}.q_proj.weight"] = (2048, 2048)
            shapes[f"{block}{attention}.k_proj.weight"] = (2048, context)
            shapes[f"{block}{attention}.v_proj.weight"] = (2048, context)
            shapes[f"{block}{attention}.output_proj.weight"] = (2048, 2048)
            shapes[f"{block}{attention}.q_norm.weight"] = (128,)
            shapes[f"{block}{attention}.k_norm.weight"] = (128,)
        shapes[f"{block}mlp.layer1.weight"] = (8192, 2048)
        shapes[f"{block}mlp.layer2.weight"] = (2048, 8192)
        for branch in ("self_attn", "cross_attn", "mlp"):
            shapes[f"{block}adaln_modulation_{branch}.1.weight"] = (256, 2048)
            shapes[f"{block}adaln_modulation_{branch}.2.weight"] = (6144, 256)
    for j in range(6):
        block = f"llm_adapter.blocks.{j}."
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                shapes[f"{block}{attention}.{part}_proj.weight"] = (1024, 1024)
            shapes[f"{block}{attention}.q_norm.weight"] = (64,)
            shapes[f"{block}{attention}.k_norm.weight"] = (64,)
        for norm in ("self_attn", "cross_attn", "mlp"):
            shapes[f"{block}norm_{norm}.weight"] = (1024,)
        shapes[f"{block}mlp.0.weight"], shapes[f"{block}mlp.0.bias"] = (4096, 1024), (4096,)
        shapes[f"{block}mlp.2.weight"], shapes[f"{block}mlp.2.bias"] = (1024, 4096), (1024,)
    return shapes


@pytest.mark.parametrize(("blocks", "count"), [(28, 685), (40, 925), (52, 1165)])
def test_a_full_size_checkpoint_fills_the_models_key_for_key(blocks, count):
    shapes = anima_shapes(blocks)
    assert len(shapes) == count
    meta = {k: torch.empty(s, dtype=torch.bfloat16, device="meta") for k, s in shapes.items()}
    meta["pos_embedder.seq"] = torch.empty(512, device="meta")
    meta["accum_iteration"] = torch.empty((), device="meta")

    transformer = build_transformer(meta, device="meta", dtype=torch.bfloat16)
    adapter = build_text_conditioner(meta, min_sequence_length=512, device="meta")

    built = {k: tuple(t.shape) for k, t in transformer.state_dict().items()}
    assert built == {
        diffusers_tensor_name(k): s for k, s in shapes.items() if not k.startswith("llm_adapter.")
    }
    assert {f"llm_adapter.{k}": tuple(t.shape) for k, t in adapter.state_dict().items()} == {
        k: s for k, s in shapes.items() if k.startswith("llm_adapter.")
    }
    assert (
        sum(p.numel() for p in transformer.parameters())
        == {
            28: 1_956_405_248,
            40: 2_786_883_584,
            52: 3_617_361_920,
        }[blocks]
    )
    config = transformer.config
    assert (config.num_layers, config.num_attention_heads) == (blocks, 16)
    assert (config.attention_head_dim, config.in_channels, config.mlp_ratio) == (128, 16, 4.0)


def test_names_agree_with_diffusers_own_conversion():
    from diffusers.loaders.single_file_utils import (
        convert_cosmos_transformer_checkpoint_to_diffusers,
    )

    keys = [key for key in anima_shapes(28) if not key.startswith("llm_adapter.")]
    theirs = convert_cosmos_transformer_checkpoint_to_diffusers({f"net.{k}": k for k in keys})
    assert theirs == {diffusers_tensor_name(key): key for key in keys}


def test_sizes_are_read_from_the_demo_models_shapes(weights):
    config = transformer_config(weights)
    assert config["num_layers"] == 8
    assert config["num_attention_heads"] == 4
    assert config["attention_head_dim"] == 32
    assert config["text_embed_dim"] == 64
    assert config["adaln_lora_dim"] == 32
    assert (config["in_channels"], config["out_channels"]) == (16, 16)
    adapter = {
        k.removeprefix("llm_adapter."): t for k, t in weights.items() if k.startswith("llm_")
    }
    config = text_conditioner_config(adapter)
    assert (config["num_layers"], config["num_attention_heads"]) == (2, 4)
    assert config["use_self_attention"] is True
    assert config["use_layer_norm"] is False


def test_the_built_transformer_computes_what_its_original_computed():
    from diffusers import CosmosTransformer3DModel

    from lorakit.formats.anima import original_tensor_name

    torch.manual_seed(0)
    source = CosmosTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        num_layers=3,
        mlp_ratio=2.0,
        text_embed_dim=40,
        adaln_lora_dim=8,
        rope_scale=(1.0, 4.0, 4.0),
        extra_pos_embed_type=None,
    ).eval()
    named = {original_tensor_name(k): t for k, t in source.state_dict().items()}
    built = build_transformer(named, device="cpu", dtype=F32)
    inputs = {
        "hidden_states": torch.randn(1, 16, 1, 8, 4),
        "timestep": torch.tensor([0.7]),
        "encoder_hidden_states": torch.randn(1, 5, 40),
        "padding_mask": torch.zeros(1, 1, 64, 32),
        "return_dict": False,
    }
    with torch.no_grad():
        expected, computed = source(**inputs)[0], built(**inputs)[0]
    assert expected.std() > 0.01
    assert torch.equal(computed, expected)


def test_the_built_text_conditioner_computes_what_its_original_computed():
    from diffusers import AnimaTextConditioner

    torch.manual_seed(0)
    source = AnimaTextConditioner(24, 32, 32, 2, 4, 2.0, 50, min_sequence_length=12).eval()
    named = {f"llm_adapter.{k}": t for k, t in source.state_dict().items()}
    built = build_text_conditioner(named, min_sequence_length=12, device="cpu")
    states, ids = torch.randn(1, 7, 24), torch.tensor([[3, 4, 5, 1]])
    with torch.no_grad():
        expected, computed = source(states, ids), built(states, ids)
    assert expected.shape == (1, 12, 32)
    assert torch.equal(computed, expected)


def test_tensors_of_the_right_dtype_are_used_without_a_copy(weights):
    key = "blocks.3.mlp.layer1.weight"
    built = build_transformer(weights, device="cpu", dtype=torch.bfloat16)
    assert built.transformer_blocks[3].ff.net[0].proj.weight.data_ptr() == weights[key].data_ptr()
    assert all(p.dtype == torch.bfloat16 for p in built.parameters())
    adapter = build_text_conditioner(weights, min_sequence_length=64, device="cpu")
    assert all(p.dtype == F32 for p in adapter.parameters())


@pytest.mark.parametrize(
    "key",
    [
        "blocks.3.cross_attn.k_proj.weight",
        "x_embedder.proj.1.weight",
        "blocks.0.self_attn.q_norm.weight",
        "final_layer.adaln_modulation.2.weight",
    ],
)
def test_a_missing_tensor_is_named_as_the_file_names_it(weights, key):
    lacking = {k: t for k, t in weights.items() if k != key}
    with pytest.raises(BadFile, match=f"'{key}'") as caught:
        build_transformer(lacking, device="cpu", dtype=F32)
    assert caught.value.hint


@pytest.mark.parametrize("key", ["blocks.3.novel.weight", "novel", "blocks.3.mlp.layer1.bias"])
def test_an_unknown_tensor_is_named(weights, key):
    with pytest.raises(BadFile, match=f"'{key}'"):
        build_transformer({**weights, key: torch.zeros(4)}, device="cpu", dtype=F32)


@pytest.mark.parametrize("shape", [(3, 3), (128,), (), (0, 0), (1, 128, 512)])
@pytest.mark.parametrize(
    "key",
    ["blocks.3.mlp.layer2.weight", "x_embedder.proj.1.weight", "blocks.0.self_attn.q_norm.weight"],
)
def test_a_tensor_of_the_wrong_shape_is_an_error_of_the_file(weights, key, shape):
    with pytest.raises(BadFile):
        build_transformer({**weights, key: torch.zeros(shape)}, device="cpu", dtype=F32)


def test_the_wrong_shape_and_the_right_one_are_named(weights):
    wrong = {**weights, "blocks.3.mlp.layer2.weight": torch.zeros(128, 511)}
    with pytest.raises(BadFile, match=r"blocks\.3\.mlp\.layer2.*\[128, 511\].*\[128, 512\]"):
        build_transformer(wrong, device="cpu", dtype=F32)


def test_a_checkpoint_without_text_adapter_says_so(weights):
    bare = {k: t for k, t in weights.items() if not k.startswith("llm_adapter.")}
    build_transformer(bare, device="cpu", dtype=F32)
    with pytest.raises(MissingComponent, match="text adapter") as caught:
        build_text_conditioner(bare, min_sequence_length=64, device="cpu")
    assert caught.value.hint


def test_a_damaged_text_adapter_names_the_full_key(weights):
    key = "llm_adapter.blocks.1.mlp.2.bias"
    with pytest.raises(BadFile, match=f"'{key}'"):
        build_text_conditioner(
            {k: t for k, t in weights.items() if k != key}, min_sequence_length=64, device="cpu"
        )
