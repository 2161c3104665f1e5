"""What must not be fused says so, naming the file and the module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.errors import BadFile, BadUsage, NotFusable
from tests.models import lora_file, random_lora, tiny_base, usual_names

BLOCKS = 3
NAMES = usual_names(BLOCKS)


def test_an_adapter_that_touches_nothing_is_an_error(tmp_path: Path) -> None:
    base = {key: t for key, t in tiny_base().items() if "llm_adapter" not in key}
    modules = random_lora(["llm_adapter.blocks.0.cross_attn.q_proj"], BLOCKS)
    path = lora_file(tmp_path / "a.safetensors", modules)
    with pytest.raises(NotFusable, match="touches nothing") as error:
        lorakit.fuse(base, [(path, 1.0)])
    assert str(path) in error.value.message
    assert "llm_adapter.blocks.0.cross_attn.q_proj" in error.value.message


def test_a_file_without_a_known_module_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sdxl.safetensors"
    save_file({"lora_unet_down_blocks_0_attn.lora_up.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(BadFile, match="holds no Anima adapter"):
        lorakit.fuse(tiny_base(), [(path, 1.0)])


def test_half_a_module_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({"diffusion_model.blocks.0.mlp.layer1.lora_A.weight": torch.zeros(4, 32)}, path)
    with pytest.raises(BadFile, match=r"blocks\.0\.mlp\.layer1 .*lacks up"):
        lorakit.load_adapter(path)


def test_a_shape_of_another_model_is_an_error_that_names_both_shapes(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    key = "diffusion_model.blocks.0.mlp.layer1"
    save_file(
        {f"{key}.lora_A.weight": torch.zeros(4, 48), f"{key}.lora_B.weight": torch.zeros(128, 4)},
        path,
    )
    with pytest.raises(NotFusable, match=r"\[128, 48\], the base has \[128, 32\]"):
        lorakit.fuse(tiny_base(), [(path, 1.0)])


@pytest.mark.parametrize(("base_blocks", "highest"), [(28, 30), (3, 3), (40, 45)])
def test_an_adapter_of_a_larger_model_is_refused(
    tmp_path: Path, base_blocks: int, highest: int
) -> None:
    names = [f"blocks.{highest}.mlp.layer1"]
    path = lora_file(tmp_path / "a.safetensors", random_lora(names, highest + 1))
    with pytest.raises(NotFusable, match=f"patches block {highest}"):
        lorakit.fuse(tiny_base(base_blocks), [(path, 1.0)])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"oft_R.weight": torch.ones(4, 28), "oft_R.scaled_oft": torch.ones(1)},
            "carries oft_scaled",
        ),
        ({"rescale": torch.ones(128, 1)}, "carries rescale"),
        ({"weight": torch.ones(128)}, "carries weight"),
    ],
)
def test_a_part_that_would_be_dropped_is_refused_by_name(
    tmp_path: Path, extra: dict[str, torch.Tensor], said: str
) -> None:
    key = "diffusion_model.blocks.0.mlp.layer1"
    tensors = {
        f"{key}.lora_A.weight": torch.zeros(4, 32),
        f"{key}.lora_B.weight": torch.zeros(128, 4),
        **{f"{key}.{part}": tensor for part, tensor in extra.items()},
    }
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(NotFusable, match=said):
        lorakit.load_adapter(tmp_path / "a.safetensors")


def test_an_infinite_alpha_is_an_error(tmp_path: Path) -> None:
    key = "lora_unet_blocks_0_mlp_layer1"
    tensors = {
        f"{key}.lora_down.weight": torch.zeros(4, 32),
        f"{key}.lora_up.weight": torch.zeros(128, 4),
        f"{key}.alpha": torch.tensor(float("inf"), dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(BadFile, match="alpha is inf"):
        lorakit.load_adapter(tmp_path / "a.safetensors")


def test_a_base_quantised_with_scales_is_refused(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    scaled = {**tiny_base(), "net.blocks.0.mlp.layer1.scale_weight": torch.ones(1)}
    with pytest.raises(NotFusable, match="quantised"):
        lorakit.fuse(scaled, [(path, 1.0)])
    integers = {k: t.to(torch.int8) if "mlp" in k else t for k, t in tiny_base().items()}
    with pytest.raises(NotFusable, match="quantised"):
        lorakit.fuse(integers, [(path, 1.0)])


def test_a_base_that_is_no_anima_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="not an Anima checkpoint"):
        lorakit.fuse({"model.weight": torch.zeros(2, 2)}, [])


def test_an_unknown_dora_formula_is_refused() -> None:
    with pytest.raises(BadUsage, match="dora"):
        lorakit.fuse(tiny_base(), [], dora="mine")  # type: ignore[arg-type]
