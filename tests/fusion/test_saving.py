"""`Adapter.save`: another layout, the same change of every weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.errors import BadUsage, NotFusable
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


def test_what_has_no_spelling_there_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    key = "lora_unet_blocks_0_mlp_layer1"
    save_file({f"{key}.diff": torch.ones(128, 32)}, tmp_path / "full.safetensors")
    full = lorakit.load_adapter(tmp_path / "full.safetensors")
    with pytest.raises(NotFusable, match=r"blocks\.0\.mlp\.layer1 is full"):
        full.save(tmp_path / "new.safetensors", layout="comfy")
    path = lora_file(tmp_path / "lora.safetensors", random_lora(NAMES, 2))
    before = path.read_bytes()
    lora = lorakit.load_adapter(path)
    with pytest.raises(BadUsage, match="exists already"):
        lora.save(path, layout="comfy")
    with pytest.raises(BadUsage, match="layout 'a1111'"):
        lora.save(tmp_path / "new.safetensors", layout="a1111")  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert not (tmp_path / "new.safetensors").exists()
