"""Forms that no oracle writes: held to the written formula in float64."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import lorakit
from lorakit.errors import BadFile, LorakitError, NotFusable
from lorakit.formats.parts import SUFFIXES
from tests.models import tiny_base

BASE = tiny_base(2, dtype=torch.float64)
Q = "net.blocks.0.self_attn.q_proj.weight"  # (32, 32)
WIDE = "net.blocks.0.mlp.layer1.weight"  # (128, 32)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator) * 0.1


def lora_and(
    module: str, up: torch.Tensor, down: torch.Tensor, more: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """A LoRA of one module in the first block, with further parts."""
    stem = f"diffusion_model.blocks.0.{module}"
    factors = {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    return factors | {f"{stem}.{part}": tensor for part, tensor in more.items()}


def fused(tmp_path: Path, tensors: dict[str, torch.Tensor], **options) -> lorakit.FusedWeights:
    path = tmp_path / "a.safetensors"
    save_file({key: t.contiguous() for key, t in tensors.items()}, path)
    return lorakit.fuse(BASE, [(path, 0.5)], **options)


def check(weights: lorakit.FusedWeights, key: str, delta: torch.Tensor) -> None:
    torch.testing.assert_close(weights[key], BASE[key] + 0.5 * delta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("suffix", ["lora_magnitude_vector.weight", "magnitude", "dora_scale"])
def test_a_bare_magnitude_vector_means_rows_even_on_a_square_weight(
    tmp_path: Path, suffix: str
) -> None:
    up, down, magnitude = drawn(32, 4), drawn(4, 32), drawn(32).abs() + 0.5
    tensors = lora_and("self_attn.q_proj", up, down, {suffix: magnitude})
    moved = BASE[Q] + up.double() @ down.double()
    wanted = moved * (magnitude.double() / moved.norm(dim=1))[:, None] - BASE[Q]
    check(fused(tmp_path, tensors), Q, wanted)


def test_comfyuis_formula_divides_rows_by_the_norm_of_the_pristine_weight(tmp_path: Path) -> None:
    up, down, magnitude = drawn(128, 4), drawn(4, 32), drawn(128, 1).abs() + 0.5
    tensors = lora_and("mlp.layer1", up, down, {"dora_scale": magnitude})
    moved = BASE[WIDE] + up.double() @ down.double()
    wanted = moved * magnitude.double() / BASE[WIDE].norm(dim=1, keepdim=True) - BASE[WIDE]
    check(fused(tmp_path, tensors, dora="comfyui"), WIDE, wanted)


def test_columns_agree_in_both_formulas(tmp_path: Path) -> None:
    up, down, magnitude = drawn(32, 4), drawn(4, 32), drawn(1, 32).abs() + 0.5
    tensors = lora_and("self_attn.q_proj", up, down, {"dora_scale": magnitude})
    moved = BASE[Q] + up.double() @ down.double()
    wanted = moved * magnitude.double() / moved.norm(dim=0, keepdim=True) - BASE[Q]
    for dora in ("trainer", "comfyui"):
        check(fused(tmp_path, tensors, dora=dora), Q, wanted)


def test_full_differences_replacements_norms_and_biases(tmp_path: Path) -> None:
    base = {**BASE, "net.llm_adapter.blocks.0.mlp.0.weight": drawn(16, 16).double()}
    base["net.llm_adapter.blocks.0.mlp.0.bias"] = drawn(16).double()
    diff, value, norm, bias = drawn(128, 32), drawn(32, 32), drawn(8), drawn(16, seed=1)
    stem = "diffusion_model.blocks.0"
    path = tmp_path / "a.safetensors"
    tensors = {
        f"{stem}.mlp.layer1.diff": diff,
        f"{stem}.self_attn.q_proj.set_weight": value,
        f"{stem}.self_attn.q_norm.diff": norm,
        "diffusion_model.llm_adapter.blocks.0.mlp.0.diff_b": bias,
    }
    save_file(tensors, path)
    got = lorakit.fuse(base, [(path, 0.5)])
    for key, delta in (
        (WIDE, diff),
        (Q, value - BASE[Q]),
        ("net.blocks.0.self_attn.q_norm.weight", norm),
        ("net.llm_adapter.blocks.0.mlp.0.bias", bias),
    ):
        torch.testing.assert_close(
            got[key], base[key] + 0.5 * delta.double(), rtol=1e-12, atol=1e-12
        )
    assert len(got.touched) == 4


def test_a_bias_for_a_layer_without_one_is_refused_by_name(tmp_path: Path) -> None:
    tensors = {"diffusion_model.blocks.0.mlp.layer1.diff_b": drawn(128)}
    with pytest.raises(NotFusable, match=r"blocks\.0\.mlp\.layer1\.bias"):
        fused(tmp_path, tensors)


def test_several_families_on_one_module_add_up(tmp_path: Path) -> None:
    up, down, diff = drawn(128, 4), drawn(4, 32), drawn(128, 32)
    tensors = lora_and("mlp.layer1", up, down, {"diff": diff})
    check(fused(tmp_path, tensors), WIDE, up.double() @ down.double() + diff.double())


@pytest.mark.parametrize("whole", [True, False])
def test_families_that_share_an_alpha_divide_it_by_their_own_rank(
    tmp_path: Path, whole: bool
) -> None:
    up, down, first = drawn(128, 4), drawn(4, 32), drawn(8, 2)
    a, b = drawn(16, 2), drawn(2, 16)
    second = {"lokr_w2": a @ b} if whole else {"lokr_w2_a": a, "lokr_w2_b": b}
    more = {"lokr_w1": first, **second, "alpha": torch.tensor(3.0)}
    kron = torch.kron(first.double(), (a @ b).double() if whole else a.double() @ b.double())
    wanted = 3 / 4 * up.double() @ down.double() + kron * (1 if whole else 3 / 2)
    check(fused(tmp_path, lora_and("mlp.layer1", up, down, more)), WIDE, wanted)


def test_a_family_that_is_not_whole_beside_one_that_is_is_named(tmp_path: Path) -> None:
    stem = "diffusion_model.blocks.0.mlp.layer1"
    parts = {"lora_A.weight": drawn(4, 32), "lokr_w1": drawn(8, 2), "lokr_w2": drawn(16, 16)}
    with pytest.raises(BadFile, match="lacks up"):
        fused(tmp_path, {f"{stem}.{part}": tensor for part, tensor in parts.items()})


def test_the_older_form_of_glora(tmp_path: Path) -> None:
    a1, a2, b1, b2 = drawn(4, 32), drawn(32, 4), drawn(4, 32, seed=1), drawn(128, 4)
    stem = "lora_unet_blocks_0_mlp_layer1"
    tensors = {
        f"{stem}.{name}.weight": tensor
        for name, tensor in (("a1", a1), ("a2", a2), ("b1", b1), ("b2", b2))
    } | {f"{stem}.alpha": torch.tensor(2.0)}
    a1, a2, b1, b2 = (t.double() for t in (a1, a2, b1, b2))
    check(fused(tmp_path, tensors), WIDE, 0.5 * (b2 @ b1 + (BASE[WIDE] @ a2) @ a1))


def test_a_tucker_core_and_a_channel_scale_on_lora(tmp_path: Path) -> None:
    up, mid, down = drawn(128, 4, 1, 1), drawn(4, 4, 1, 1), drawn(4, 32, 1, 1)
    inverse = drawn(32).abs() + 0.5
    stem = "lora_unet_blocks_0_mlp_layer1"
    tensors = {
        f"{stem}.lora_up.weight": up,
        f"{stem}.lora_mid.weight": mid,
        f"{stem}.lora_down.weight": down,
    }
    u, m, d = (t.flatten(1).double() for t in (up, mid, down))
    # The joined factor is kept in float32, rounded once.
    got = fused(tmp_path, tensors)[WIDE] - BASE[WIDE]
    assert (got - 0.5 * (u @ m @ d)).norm() < 5e-8 * got.norm()
    del tensors[f"{stem}.lora_mid.weight"]
    got = fused(tmp_path, {**tensors, f"{stem}.inv_scale": inverse})[WIDE] - BASE[WIDE]
    assert (got - 0.5 * (u @ (d * inverse.double()))).norm() < 5e-8 * got.norm()


@pytest.mark.parametrize("algo", ["loha", "lokr"])
def test_tucker_cores_of_products_are_rebuilt_as_lycoris_does(tmp_path: Path, algo: str) -> None:
    rebuild_tucker = pytest.importorskip("lycoris.functional.general").rebuild_tucker
    stem = "lora_unet_blocks_0_mlp_layer1"
    if algo == "loha":
        first = (drawn(4, 4, 1, 1), drawn(4, 128), drawn(4, 32))
        second = (drawn(4, 4, 1, 1, seed=1), drawn(4, 128, seed=1), drawn(4, 32, seed=1))
        parts = dict(zip(("hada_t1", "hada_w1_a", "hada_w1_b"), first, strict=True))
        parts |= zip(("hada_t2", "hada_w2_a", "hada_w2_b"), second, strict=True)
        one, two = (rebuild_tucker(*(t.double() for t in side)) for side in (first, second))
        wanted = (one * two).flatten(1)
    else:
        whole, side = drawn(8, 2), (drawn(4, 4, 1, 1), drawn(4, 16), drawn(4, 16, seed=1))
        parts = {
            "lokr_w1": whole,
            **dict(zip(("lokr_t2", "lokr_w2_a", "lokr_w2_b"), side, strict=True)),
        }
        wanted = torch.kron(whole.double(), rebuild_tucker(*(t.double() for t in side)).flatten(1))
    tensors = {f"{stem}.{part}": tensor for part, tensor in parts.items()}
    got = fused(tmp_path, {**tensors, f"{stem}.alpha": torch.tensor(2.0)})
    assert got.plan.entries[0].report.ranks == {4: 1}
    check(got, WIDE, 0.5 * wanted)


@pytest.mark.parametrize("flat", [True, False])
def test_joined_projections_are_split_by_rows_in_the_order_q_k_v(
    tmp_path: Path, flat: bool
) -> None:
    up, down = drawn(96, 4), drawn(4, 32)
    if flat:
        stem, names = "lora_unet_blocks_0_self_attn_qkv_proj", ("lora_up", "lora_down")
    else:
        stem, names = "diffusion_model.blocks.0.self_attn.qkv_proj", ("lora_B", "lora_A")
    got = fused(tmp_path, {f"{stem}.{names[0]}.weight": up, f"{stem}.{names[1]}.weight": down})
    assert len(got.touched) == 3
    for index, x in enumerate("qkv"):
        key = f"net.blocks.0.self_attn.{x}_proj.weight"
        check(got, key, up[32 * index : 32 * index + 32].double() @ down.double())


def test_a_renamed_adaln_layer_is_found(tmp_path: Path) -> None:
    key = "net.blocks.1.adaln_modulation_mlp.2.weight"
    out, inner = BASE[key].shape
    up, down = drawn(out, 2), drawn(2, inner)
    stem = "lora_unet_blocks_1_adaln_up_mlp"
    got = fused(tmp_path, {f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down})
    check(got, key, up.double() @ down.double())


def test_joined_and_split_forms_of_one_layer_in_one_file_are_refused(tmp_path: Path) -> None:
    stem = "lora_unet_blocks_0_self_attn"
    tensors = {
        f"{stem}_{name}.lora_{half}.weight": drawn(*shape)
        for name, out in (("qkv_proj", 96), ("q_proj", 32))
        for half, shape in (("up", (out, 4)), ("down", (4, 32)))
    }
    with pytest.raises(BadFile, match="patch the same weight"):
        fused(tmp_path, tensors)


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_blocks_0_mlp_layer1.lora_ups.0.weight",
        "lora_unet_blocks_0_mlp_layer1.router.weight",
        "diffusion_model.register_tokens",
        "global_router.fc.weight",
        "lora_unet_blocks_0_mlp_layer1.experts.0.lora_A.weight",
        "prefix_embeds",
        "lora_unet_blocks_0_mlp_layer1.S_p",
    ],
)
def test_an_adapter_that_is_more_than_weights_is_refused_by_name(tmp_path: Path, key: str) -> None:
    stem = "lora_unet_blocks_0_self_attn_q_proj"
    tensors = {
        f"{stem}.lora_up.weight": drawn(32, 4),
        f"{stem}.lora_down.weight": drawn(4, 32),
        key: drawn(4),
    }
    with pytest.raises(NotFusable, match="more than a change of weights") as error:
        fused(tmp_path, tensors)
    assert key in error.value.message


@pytest.mark.parametrize(
    "parts",
    [
        {"oft_blocks": (5, 8, 8)},
        {"oft_blocks": (3, 4, 8, 8)},
        {"diff": (7,)},
        {"diff": (128, 31)},
        {"set_weight": (1, 1)},
        {"lokr_w1": (2, 2), "lokr_w2": (8, 8)},
        {"hada_w1_a": (128, 4), "hada_w1_b": (4, 32), "hada_w2_a": (64, 4), "hada_w2_b": (4, 32)},
        {"weight": (31,), "on_input": ()},
        {"a1.weight": (30, 4), "a2.weight": (4, 30), "b1.weight": (128, 4), "b2.weight": (4, 32)},
        {"q_layer.weight": (4, 31), "p_layer.weight": (128, 4), "lambda_layer": (1, 4)},
        {"oft_R.weight": (5, 28)},
        {"lora_A.weight": (4, 32), "lora_B.weight": (128, 4), "dora_scale": (7, 1)},
    ],
)
def test_tensors_that_do_not_fit_the_weight_give_one_sentence(
    tmp_path: Path, parts: dict[str, tuple[int, ...]]
) -> None:
    stem = "diffusion_model.blocks.0.mlp.layer1"
    tensors = {f"{stem}.{part}": torch.ones(shape) for part, shape in parts.items()}
    with pytest.raises((NotFusable, BadFile), match=r"a\.safetensors|mlp\.layer1"):
        fused(tmp_path, tensors)


_PARTS = st.sampled_from(sorted(SUFFIXES))
_SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_PARTS, _SHAPES, min_size=1, max_size=5))
def test_any_mixture_of_parts_is_fused_or_refused_in_one_sentence(
    tmp_path_factory, parts: dict[str, tuple[int, ...]]
) -> None:
    stem = "diffusion_model.blocks.0.mlp.layer1"
    tensors = {f"{stem}.{part}": torch.ones(shape) for part, shape in parts.items()}
    with suppress(LorakitError):
        assert fused(tmp_path_factory.mktemp("any"), tensors)[WIDE].shape == BASE[WIDE].shape


def test_column_norms_of_a_joined_projection_cannot_be_split(tmp_path: Path) -> None:
    stem = "lora_unet_blocks_0_self_attn_qkv_proj"
    tensors = {
        f"{stem}.lora_up.weight": drawn(96, 4),
        f"{stem}.lora_down.weight": drawn(4, 32),
        f"{stem}.dora_scale": drawn(1, 32),
    }
    with pytest.raises(BadFile, match="column norms"):
        fused(tmp_path, tensors)
