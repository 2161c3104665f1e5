"""Fusing plain LoRA: right to the last rounding, whatever the layout, order or prefix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.adapters.lora import LoraModule
from lorakit.formats.checkpoint import PREFIXES
from tests.models import (
    LayoutName,
    lora_file,
    random_lora,
    tiny_base,
    tiny_base_file,
    usual_names,
)

BLOCKS = 3
NAMES = usual_names(BLOCKS)


def exact(weight: torch.Tensor, parts: list[tuple[LoraModule, float]]) -> torch.Tensor:
    """The written formula in float64: W + sum of strength * scale * up @ down."""
    total = weight.double()
    for module, strength in parts:
        total = total + strength * module.scale * (module.up.double() @ module.down.double())
    return total


def relative_to_delta(got: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> float:
    return float((got.double() - wanted).norm() / (wanted - weight.double()).norm())


@pytest.mark.parametrize("layout", ["kohya", "comfy", "diffusers"])
def test_every_layout_gives_the_float64_formula(tmp_path: Path, layout: LayoutName) -> None:
    base = tiny_base(BLOCKS)
    modules = random_lora(NAMES, BLOCKS, scale=0.5)
    path = lora_file(tmp_path / "a.safetensors", modules, layout)
    fused = lorakit.fuse(base, [(path, 0.8)])
    assert fused.touched == {f"net.{name}.weight" for name in NAMES}
    for name, module in modules.items():
        key = f"net.{name}.weight"
        wanted = exact(base[key], [(module, 0.8)])
        # A weight ten times as large as the delta: its own rounding to float32 is 3e-7 of the delta.
        assert relative_to_delta(fused[key], wanted, base[key]) < 1e-6


def test_a_float64_base_is_summed_in_float64(tmp_path: Path) -> None:
    base = tiny_base(BLOCKS, dtype=torch.float64)
    modules = random_lora(NAMES, BLOCKS)
    fused = lorakit.fuse(base, [(lora_file(tmp_path / "a.safetensors", modules), 0.7)])
    for name, module in modules.items():
        key = f"net.{name}.weight"
        assert relative_to_delta(fused[key], exact(base[key], [(module, 0.7)]), base[key]) < 1e-12


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_bf16_base_is_rounded_once_however_many_adapters(tmp_path: Path, count: int) -> None:
    base = tiny_base(BLOCKS, dtype=torch.bfloat16)
    stack = [random_lora(NAMES, BLOCKS, seed=seed, rank=4 + seed) for seed in range(count)]
    paths = [lora_file(tmp_path / f"{i}.safetensors", modules) for i, modules in enumerate(stack)]
    fused = lorakit.fuse(base, [(path, 0.6) for path in paths])
    ours = ideal = 0.0
    for name in NAMES:
        key = f"net.{name}.weight"
        wanted = exact(base[key], [(modules[name], 0.6) for modules in stack])
        ours += float((fused[key].double() - wanted).square().sum())
        ideal += float((wanted.to(torch.bfloat16).double() - wanted).square().sum())
    assert (ours / ideal) ** 0.5 <= 1.02


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_file_with_any_prefix_keeps_its_own_key_names(tmp_path: Path, prefix: str) -> None:
    path = tiny_base_file(tmp_path / "base.safetensors", prefix=prefix)
    adapter = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    fused = lorakit.fuse(path, [(adapter, 1.0)])
    plain = tiny_base(prefix=prefix)
    assert set(fused) == set(plain)
    for key in plain:
        same = torch.equal(fused[key], plain[key])
        assert same == (key not in fused.touched), key


def test_the_text_adapter_inside_the_checkpoint_is_fused_too(tmp_path: Path) -> None:
    name = "llm_adapter.blocks.0.cross_attn.q_proj"
    modules = random_lora([name], BLOCKS)
    fused = lorakit.fuse(tiny_base(), [(lora_file(tmp_path / "a.safetensors", modules), 1.0)])
    assert fused.touched == {f"net.{name}.weight"}


def test_strength_zero_leaves_every_byte_and_the_base_is_never_written(tmp_path: Path) -> None:
    base = tiny_base(dtype=torch.bfloat16)
    before = {key: tensor.clone() for key, tensor in base.items()}
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    assert lorakit.fuse(base, [(path, 0.0)]).touched == frozenset()
    lorakit.fuse(base, [(path, 0.9)])
    assert all(torch.equal(base[key], before[key]) for key in base)


def test_an_8_bit_base_gives_its_touched_weights_in_bf16(tmp_path: Path) -> None:
    base = {key: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for key, t in tiny_base().items()}
    modules = random_lora(NAMES[:1], BLOCKS)
    fused = lorakit.fuse(base, [(lora_file(tmp_path / "a.safetensors", modules), 1.0)])
    key = f"net.{NAMES[0]}.weight"
    assert fused[key].dtype == torch.bfloat16
    wanted = exact(base[key].float(), [(modules[NAMES[0]], 1.0)])
    assert torch.equal(fused[key], wanted.float().to(torch.bfloat16))


def test_a_smaller_models_adapter_is_renumbered_onto_a_larger_base(tmp_path: Path) -> None:
    base = tiny_base(40)
    # 28 -> 40: block 2 of the small model stands at 3, block 27 at 39 (the larger model's metadata).
    names = ["blocks.2.mlp.layer1", "blocks.27.mlp.layer1"]
    path = lora_file(tmp_path / "a.safetensors", random_lora(names, 28))
    fused = lorakit.fuse(base, [(path, 1.0)])
    assert fused.touched == {"net.blocks.3.mlp.layer1.weight", "net.blocks.39.mlp.layer1.weight"}
    assert fused.plan.entries[0].remapped


def test_fusing_needs_torch_and_safetensors_and_nothing_else(tmp_path: Path) -> None:
    base = tiny_base_file(tmp_path / "base.safetensors")
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    program = (
        "import sys, torch, safetensors.torch\n"
        "def packages(): return {name.split('.')[0] for name in sys.modules}\n"
        "before = packages() | set(sys.stdlib_module_names)\n"
        "import lorakit\n"
        f"fused = lorakit.fuse({str(base)!r}, [({str(path)!r}, 0.5)])\n"
        "assert len(fused.touched) > 0\n"
        "print(sorted(packages() - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['lorakit']"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(tmp_path: Path) -> None:
    base = tiny_base()
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    here, there = (
        lorakit.fuse(base, [(path, 0.8)]),
        lorakit.fuse(base, [(path, 0.8)], device="cuda"),
    )
    for key in base:
        torch.testing.assert_close(there[key].cpu(), here[key], rtol=1e-6, atol=1e-7)
