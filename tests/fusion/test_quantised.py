"""8-bit bases with scales: the delta is added to the weight that the file means."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.errors import NotFusable
from lorakit.fusion.engine import stream_fused
from tests.models import lora_file, random_lora, tiny_base, usual_names

NAMES = usual_names(3)


def scaled_base(mark: str, *, by_row: bool = False) -> dict[str, torch.Tensor]:
    """A base as ComfyUI quantises it: every matrix in 8-bit floats, its scale beside it."""
    tensors: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for key, tensor in tiny_base().items():
        if tensor.ndim != 2:
            tensors[key] = tensor
            continue
        scale = tensor.abs().amax(1) / 400 if by_row else tensor.abs().max().reshape(()) / 400
        divided = tensor / (scale[:, None] if by_row else scale)
        tensors[key] = divided.to(torch.float8_e4m3fn)
        tensors[key.removesuffix("weight") + mark] = scale
    return tensors


@pytest.mark.parametrize("mark", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("by_row", [False, True])
def test_scales_are_applied_before_the_delta_and_the_sum_is_rounded_once(
    tmp_path: Path, mark: str, by_row: bool
) -> None:
    base = scaled_base(mark, by_row=by_row)
    path = tmp_path / "base.safetensors"
    save_file(base, path)
    modules = random_lora(NAMES, 3)
    fused = lorakit.fuse(path, [(lora_file(tmp_path / "a.safetensors", modules), 0.8)])
    assert not [key for key in fused if "scale" in key]
    for name, module in modules.items():
        key = f"net.{name}.weight"
        scale = base[f"net.{name}.{mark}"].double()
        weight = base[key].double() * (scale[:, None] if by_row else scale)
        wanted = weight + 0.8 * module.up.double() @ module.down.double()
        assert fused[key].dtype == torch.bfloat16
        ideal = (wanted.to(torch.bfloat16).double() - wanted).norm()
        assert (fused[key].double() - wanted).norm() <= 1.02 * ideal
    untouched = "net.blocks.0.adaln_modulation_mlp.1.weight"
    assert fused[untouched].dtype == torch.bfloat16
    torch.testing.assert_close(
        fused[untouched].float(), tiny_base()[untouched], rtol=0.1, atol=1e-3
    )
    assert fused.plan.extra_bytes == sum(fused[f"net.{name}.weight"].numel() for name in NAMES)


def test_a_scale_without_its_weight_or_of_integers_is_refused() -> None:
    orphan = {**tiny_base(), "net.blocks.0.mlp.nothing.scale_weight": torch.ones(1)}
    with pytest.raises(NotFusable, match="scale_weight but no"):
        lorakit.fuse(orphan, [])
    key = "net.blocks.0.mlp.layer1.weight"
    base = tiny_base()
    integers = {**base, key: base[key].to(torch.int8), f"{key}_scale": torch.ones(1)}
    with pytest.raises(NotFusable, match="quantised"):
        lorakit.fuse(integers, [])


def test_the_live_engine_says_what_it_starts_from(tmp_path: Path) -> None:
    base = scaled_base("scale_weight")
    modules = random_lora(NAMES[:1], 3)
    adapter = lora_file(tmp_path / "a.safetensors", modules)
    with lorakit.LiveFusion(base, [adapter]) as live:
        live.set_strengths([0.8])
        key = f"net.{NAMES[0]}.weight"
        # The pristine copy is kept in bfloat16, so a scaled weight is rounded once more than in fuse.
        ours = lorakit.fuse(base, [(adapter, 0.8)])[key]
        assert (live.weights[key].float() - ours.float()).norm() / ours.float().norm() < 2**-8


def test_a_wider_dtype_gets_the_exact_weight_whether_touched_or_not(tmp_path: Path) -> None:
    base = scaled_base("scale_weight")
    adapter = lora_file(tmp_path / "a.safetensors", random_lora(NAMES[:1], 3))
    streamed = dict(stream_fused(base, [(adapter, 0.0)], dtype=torch.float32))
    fused = lorakit.fuse(base, [(adapter, 0.0)], dtype=torch.float32)
    for name in NAMES:
        key = f"net.{name}.weight"
        wanted = base[key].float() * base[f"net.{name}.scale_weight"]
        assert torch.equal(fused[key], wanted)
        assert torch.equal(streamed[key], wanted)
