"""Fusing one tensor at a time, and measuring what an entry does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.errors import NotFusable
from lorakit.fusion.base import open_base
from lorakit.fusion.engine import stream_fused
from lorakit.fusion.sizes import measure_sizes
from lorakit.strengths import Strength
from tests.models import lora_file, random_lora, tiny_base, usual_names

NAMES = usual_names(3)


def test_a_stream_gives_what_fuse_gives_in_the_bases_order(tmp_path: Path) -> None:
    base = tiny_base(dtype=torch.bfloat16)
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, 3))
    fused = lorakit.fuse(base, [(path, 0.8)])
    streamed = list(stream_fused(base, [(path, 0.8)]))
    assert [key for key, _ in streamed] == list(base)
    assert all(torch.equal(tensor, fused[key]) for key, tensor in streamed)
    half = dict(stream_fused(base, [(path, 0.8)], dtype=torch.float16))
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}


@pytest.mark.parametrize("strength", [1.0, -0.25])
def test_sizes_are_those_of_the_written_formula(tmp_path: Path, strength: float) -> None:
    base = tiny_base(dtype=torch.bfloat16)
    modules = random_lora(NAMES, 3, scale=0.5)
    path = lora_file(tmp_path / "a.safetensors", modules)
    (size,) = measure_sizes(base, [(path, Strength(strength))])
    weights = deltas = errors = 0.0
    for name, module in modules.items():
        weight = base[f"net.{name}.weight"].double()
        delta = strength * 0.5 * (module.up.double() @ module.down.double())
        total = weight + delta
        weights += float(weight.square().sum())
        deltas += float(delta.square().sum())
        errors += float((total.to(torch.bfloat16).double() - total).square().sum())
    assert size.relative_touched == pytest.approx((deltas / weights) ** 0.5, rel=1e-3)
    assert size.lost == pytest.approx((errors / deltas) ** 0.5, rel=1e-2)
    (finer,) = measure_sizes(base, [(path, Strength(strength))], dtype=torch.float32)
    assert finer.lost < size.lost / 100


def test_an_entry_of_strength_zero_has_no_size(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, 3))
    (size,) = measure_sizes(tiny_base(), [(path, Strength(0.0))])
    assert (size.relative_touched, size.lost) == (0.0, 0.0)


def test_a_text_encoder_beside_the_base_is_fused_in_its_own_dtype(tmp_path: Path) -> None:
    encoder = {"layers.0.mlp.up_proj.weight": torch.randn(24, 16), "norm.weight": torch.ones(16)}
    up, down = torch.randn(24, 4), torch.randn(4, 16)
    from safetensors.torch import save_file

    path = tmp_path / "te.safetensors"
    stem = "lora_te_layers_0_mlp_up_proj"
    save_file({f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down}, path)
    base = tiny_base(dtype=torch.bfloat16)
    with pytest.raises(NotFusable, match="its one module belongs to the text encoder"):
        lorakit.fuse(base, [(path, 1.0)])
    joined = open_base(base).with_text_encoder(encoder)
    fused = lorakit.fuse(joined, [(path, 0.5)])
    key = "text_encoder.layers.0.mlp.up_proj.weight"
    assert fused.touched == {key}
    wanted = encoder["layers.0.mlp.up_proj.weight"] + 0.5 * up @ down
    torch.testing.assert_close(fused[key], wanted)
    assert fused.by_canonical_name()[key].dtype == torch.float32
