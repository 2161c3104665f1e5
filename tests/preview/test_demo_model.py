import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lorakit.preview.demo_model import write_demo_model
from lorakit.preview.pipeline import Renderer
from lorakit.preview.settings import RenderSettings

SETTINGS = RenderSettings("ink portrait", width=256, height=256, steps=20)


def content(path: Path) -> tuple[Any, str]:
    """A safetensors file as its parsed header and the hash of its tensors, any other file as text.

    The safetensors package writes the entries of the metadata in an order that changes."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return None, data.decode()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), hashlib.sha256(data[8 + length :]).hexdigest()


def test_the_checkpoint_says_what_it_is(demo):
    entries, _ = content(demo.checkpoint)
    metadata = entries.pop("__metadata__")
    assert "random weights" in metadata["modelspec.description"]
    assert "lorakit" in metadata["modelspec.title"]
    assert all(key.startswith("net.") for key in entries)
    assert "net.blocks.7.mlp.layer1.weight" in entries
    assert "net.llm_adapter.blocks.0.cross_attn.q_proj.weight" in entries
    assert {entry["dtype"] for entry in entries.values()} == {"BF16"}


def test_the_folder_is_small_and_holds_no_adapter_weights(demo):
    files = [path for path in demo.checkpoint.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15_000_000
    conditioner = demo.components / "text_conditioner"
    assert [path.name for path in conditioner.iterdir()] == ["config.json"]


def test_the_parts_are_of_the_classes_that_diffusers_expects(components):
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast

    assert isinstance(components.text_encoder, Qwen3Model)
    assert isinstance(components.tokenizer, Qwen2Tokenizer)
    assert isinstance(components.t5_tokenizer, T5TokenizerFast)
    assert isinstance(components.vae, AutoencoderKLQwenImage)
    assert isinstance(components.scheduler, FlowMatchEulerDiscreteScheduler)
    assert components.scheduler.config.shift == 3.0
    assert components.min_sequence_length == 64


def test_the_tokenizers_know_words_and_spell_out_the_rest(components):
    text = "masterpiece, an inkling é"
    ids = components.tokenizer(text).input_ids
    assert components.tokenizer.decode(ids) == text
    assert components.tokenizer.convert_ids_to_tokens(ids)[0] == "masterpiece"
    pieces = components.t5_tokenizer(text).input_ids
    assert pieces[-1] == components.t5_tokenizer.eos_token_id
    assert components.t5_tokenizer.convert_ids_to_tokens(pieces)[0] == "▁masterpiece"


def test_a_seed_means_the_same_model_and_another_seed_others(demo, tmp_path):
    before = torch.get_rng_state()
    again = write_demo_model(tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), before)
    for path in sorted(p for p in demo.checkpoint.parent.rglob("*") if p.is_file()):
        twin = again.checkpoint.parent / path.relative_to(demo.checkpoint.parent)
        assert content(path) == content(twin), path.name
    other = write_demo_model(tmp_path / "other", seed=1)
    assert content(other.checkpoint) != content(demo.checkpoint)


def test_the_picture_is_colourful_and_a_small_delta_shows_in_it(weights, components, renderer):
    plain = np.asarray(renderer.render(SETTINGS)).astype(np.float64)
    # Not flat: every channel varies from place to place, and places differ in hue.
    assert plain.std(axis=(0, 1)).min() > 10
    assert (plain.max(axis=2) - plain.min(axis=2)).mean() > 20
    assert ((plain == 0) | (plain == 255)).mean() < 0.2

    changed = {key: _with_delta(key, tensor, 0.05) for key, tensor in weights.items()}
    other = Renderer.open(changed, components, device="cpu").render(SETTINGS)
    assert np.abs(np.asarray(other) - plain).mean() > 3


def _with_delta(key: str, tensor: torch.Tensor, share: float) -> torch.Tensor:
    """A rank-4 change of `share` of the weight's norm, on every self-attention and MLP matrix."""
    if not key.startswith("blocks.") or not (".self_attn." in key or ".mlp." in key):
        return tensor
    if tensor.ndim != 2:
        return tensor
    generator = torch.Generator().manual_seed(len(key) + int(key.split(".")[1]))
    rows, columns = tensor.shape
    delta = torch.randn(rows, 4, generator=generator) @ torch.randn(4, columns, generator=generator)
    changed: torch.Tensor = tensor.float() + delta * (share * tensor.float().norm() / delta.norm())
    return changed
