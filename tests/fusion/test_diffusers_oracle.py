"""diffusers as the oracle: what its own fuse_lora makes of the same files, in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lorakit
from lorakit.formats.anima import diffusers_tensor_name
from lorakit.preview.demo_model import write_demo_adapters, write_demo_model
from lorakit.preview.models import build_transformer

STRENGTHS = {"wash": 0.8, "neon": -0.4}


@pytest.mark.filterwarnings("ignore")
def test_diffusers_fuses_the_same_files_to_the_same_weights(tmp_path: Path) -> None:
    model = write_demo_model(tmp_path)
    files = {path.stem: path for path in write_demo_adapters(tmp_path)}
    base = {key: tensor.float() for key, tensor in load_file(model.checkpoint).items()}
    plain = lorakit.fuse(base, []).by_canonical_name()
    transformer = build_transformer(
        {name: tensor.double() for name, tensor in plain.items()}, device="cpu", dtype=torch.float64
    )
    for name in STRENGTHS:
        # The layouts that diffusers reads: its own, and ComfyUI's without alpha.
        state = load_file(files[name])
        if name == "wash":
            state = {_diffusers_key(key): tensor for key, tensor in state.items()}
        transformer.load_lora_adapter(state, adapter_name=name)
    transformer.to(torch.float64)
    transformer.set_adapters(list(STRENGTHS), list(STRENGTHS.values()))
    transformer.fuse_lora(adapter_names=list(STRENGTHS))
    theirs = {
        key.replace(".base_layer.", "."): tensor for key, tensor in transformer.state_dict().items()
    }
    fused = lorakit.fuse(base, [(files[name], s) for name, s in STRENGTHS.items()])
    touched = {key.removeprefix(fused.prefix) for key in fused.touched}
    assert len(touched) == 128
    weights = fused.by_canonical_name()
    for name in touched:
        wanted = theirs[diffusers_tensor_name(name)]
        assert wanted.dtype == torch.float64
        delta = (wanted - plain[name]).norm()
        assert delta > 0
        # What is left is the rounding of a float32 weight, of which the delta is a part.
        rounding = plain[name].norm() * torch.finfo(torch.float32).eps / 2
        assert (weights[name] - wanted).norm() < 1e-6 * delta + rounding, name


def _diffusers_key(key: str) -> str:
    name = key.removeprefix("diffusion_model.")
    module, half, leaf = name.rsplit(".", 2)
    renamed = diffusers_tensor_name(f"{module}.{leaf}").removesuffix(f".{leaf}")
    return f"transformer.{renamed}.{half}.{leaf}"
