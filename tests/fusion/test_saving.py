"""`Adapter.save`: another layout, the same change of every weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lorakit
from tests.models import lora_file, random_lora, tiny_base, usual_names

NAMES = [*usual_names(2), "llm_adapter.blocks.0.cross_attn.q_proj"]
LAYOUTS = ("kohya", "comfy", "diffusers")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_fuses_to_the_same_weights(tmp_path: Path, layout, dtype) -> None:
    # A scale that bfloat16 cannot take in without rounding.
    modules = random_lora(NAMES, 2, scale=0.3, dtype=dtype)
    notes = {"modelspec.license": "CC-BY-4.0"}
    one = lorakit.load_adapter(lora_file(tmp_path / "one.safetensors", modules, metadata=notes))
    one.save(tmp_path / "other.safetensors", layout=layout)
    other = lorakit.load_adapter(tmp_path / "other.safetensors")
    assert other.report.layouts[0] == layout
    assert other.report.metadata["modelspec.license"] == "CC-BY-4.0"
    base = tiny_base(2, dtype=torch.float64)
    first, second = (lorakit.fuse(base, [(adapter, 1.0)]) for adapter in (one, other))
    assert first.touched == second.touched
    for key in first.touched:
        change = (first[key] - base[key]).norm()
        assert (first[key] - second[key]).norm() < 1e-6 * change
