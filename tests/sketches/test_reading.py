"""The same model in any disguise gives the same sketch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.formats.shards import Shards, read_shards
from lorakit.sketches.reading import sketch_checkpoint
from tests.sketches.factories import LAYER, assert_same, expected, named, saved, weights

WEIGHTS = weights()
WANTED = expected(WEIGHTS)
VAE = {"vae.conv1.weight": torch.zeros(3, 3), "first_stage_model.blocks.0.weight": torch.ones(4)}
TEXT = {"text_encoder.layers.0.mlp.up_proj.weight": torch.ones(4, 4)}


def diffusers(prefix: str = "", conditioner: str = "text_conditioner.") -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in WEIGHTS.items():
        if name.startswith("llm_adapter."):
            key = conditioner + name.removeprefix("llm_adapter.")
        else:
            key = prefix + anima.to_diffusers(name)
        found[f"{key}.weight"] = tensor
    return found


@pytest.mark.parametrize(
    "prefix",
    ["", "net.", "model.diffusion_model.", "diffusion_model.", "transformer.", "my.own.words."],
)
def test_whatever_stands_before_the_names(tmp_path: Path, prefix: str) -> None:
    tensors = {**named(WEIGHTS, prefix), **VAE, **TEXT}
    sketch = sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors, {"modelspec.title": "x"}))
    assert_same(sketch, WANTED)
    assert (sketch.dtype, sketch.blocks, sketch.undecided) == ("F32", 2, ())


def test_diffusers_names_in_one_file(tmp_path: Path) -> None:
    for number, tensors in enumerate(
        (
            diffusers("transformer."),
            diffusers("", "llm_adapter."),
            {f"a.{key}": tensor for key, tensor in diffusers().items()},
        )
    ):
        assert_same(sketch_checkpoint(saved(tmp_path / f"{number}.safetensors", tensors)), WANTED)


def test_one_by_one_convolutions_and_joined_layers(tmp_path: Path) -> None:
    parts = {f"blocks.1.self_attn.{x}_proj": torch.randn(64, 64) for x in "qkv"}
    modules = {**WEIGHTS, **parts}
    tensors = named({name: t for name, t in modules.items() if name not in parts})
    tensors["net.blocks.1.self_attn.qkv_proj.weight"] = torch.cat(list(parts.values()))
    tensors["net.x_embedder.proj.1.weight"] = WEIGHTS["x_embedder.proj.1"][:, :, None, None]
    assert_same(sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors)), expected(modules))


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        (torch.float64, "F64"),
        (torch.float16, "F16"),
        (torch.bfloat16, "BF16"),
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
        (torch.float8_e4m3fnuz, "F8_E4M3FNUZ"),
        (torch.float8_e5m2fnuz, "F8_E5M2FNUZ"),
    ],
)
def test_every_float(tmp_path: Path, dtype: torch.dtype, code: str) -> None:
    cast = {name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}
    sketch = sketch_checkpoint(saved(tmp_path / "a.safetensors", named(cast)))
    assert sketch.dtype == code
    assert_same(sketch, expected(cast))


def shards(folder: Path, stem: str = "model") -> list[Path]:
    """The model in three files, as transformers names them."""
    tensors = list(named(WEIGHTS).items())
    return [
        saved(folder / f"{stem}-{n + 1:05}-of-00003.safetensors", dict(tensors[n::3]))
        for n in range(3)
    ]


def test_shards_by_folder_by_index_and_by_any_of_them(tmp_path: Path) -> None:
    files = shards(tmp_path)
    for path in (tmp_path, *files):
        assert_same(sketch_checkpoint(path), WANTED)
    keys = {key: files[n % 3].name for n, key in enumerate(named(WEIGHTS))}
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": keys}))
    for path in (tmp_path, index):
        assert_same(sketch_checkpoint(path), WANTED)
    index.write_text(json.dumps({"weight_map": {**keys, "net.lost": files[1].name}}))
    for path in (tmp_path, index):
        with pytest.raises(BadFile, match=r"model-00002-of-00003.safetensors holds 'net.lost'"):
            sketch_checkpoint(path)
    for file in files:
        file.rename(file.with_name(f"part{file.name[6:11]}.safetensors"))
    index.unlink()
    assert_same(sketch_checkpoint(tmp_path), WANTED)


def test_a_diffusers_pipeline(tmp_path: Path) -> None:
    tensors = diffusers("", "conditioner.")
    for folder, prefix in (("transformer", ""), ("text_conditioner", "conditioner.")):
        (tmp_path / folder).mkdir()
        part = {
            key.removeprefix(prefix): tensor
            for key, tensor in tensors.items()
            if key.startswith("conditioner.") == bool(prefix)
        }
        saved(tmp_path / folder / "diffusion_pytorch_model.safetensors", part)
    (tmp_path / "model_index.json").write_text("{}")
    assert_same(sketch_checkpoint(tmp_path), WANTED)
    only = {name: v for name, v in WANTED.items() if not name.startswith("llm_adapter.")}
    assert_same(sketch_checkpoint(tmp_path / "transformer"), only)


def test_a_part_built_of_the_same_blocks_is_not_the_model(tmp_path: Path) -> None:
    connector = {f"net.connector.{LAYER}.weight": torch.ones(64, 96)}
    tensors = {**named(WEIGHTS), **connector}
    assert_same(sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors)), WANTED)


def test_a_text_adapter_that_stands_elsewhere(tmp_path: Path) -> None:
    tensors = {
        (f"parts.{key[4:]}" if "llm_adapter" in key else key): tensor
        for key, tensor in named(WEIGHTS).items()
    }
    assert_same(sketch_checkpoint(saved(tmp_path / "a.safetensors", tensors)), WANTED)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    files = shards(tmp_path)
    files[1].unlink()
    for path in (tmp_path, files[0]):
        with pytest.raises(BadFile, match=r"model-00002-of-00003\.safetensors"):
            sketch_checkpoint(path)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": []}',
        '{"weight_map": {"a": "../a.safetensors"}}',
        '{"weight_map": {"a": "/etc/a.safetensors"}}',
        '{"weight_map": {"a": ""}}',
        '{"weight_map": {"a": "gone.safetensors"}}',
        '{"weight_map": {"a": 1}}',
    ],
)
def test_an_index_that_is_none(tmp_path: Path, index: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index)
    for wanted in (path, tmp_path):
        with pytest.raises(BadFile, match=r"index\.json"):
            sketch_checkpoint(wanted)


def test_what_holds_no_model_or_two(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no safetensors"):
        sketch_checkpoint(tmp_path)
    with pytest.raises(BadFile, match=r"nowhere\.safetensors"):
        sketch_checkpoint(tmp_path / "nowhere.safetensors")
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(BadFile, match="cannot be read"):
            sketch_checkpoint(tmp_path / name)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadFile, match="GGUF"):
        sketch_checkpoint(tmp_path / "a.gguf")
    lora = {
        "diffusion_model.blocks.0.mlp.layer1.lora_A.weight": torch.zeros(2, 4),
        "diffusion_model.blocks.0.mlp.layer1.lora_B.weight": torch.zeros(4, 2),
    }
    with pytest.raises(BadFile, match="not an Anima checkpoint"):
        sketch_checkpoint(saved(tmp_path / "lora.safetensors", lora))
    twice = {**named(WEIGHTS), **named(WEIGHTS, "net_ema.")}
    with pytest.raises(BadFile, match="more than once"):
        sketch_checkpoint(saved(tmp_path / "twice.safetensors", twice))
    both = {**named(WEIGHTS, ""), **diffusers()}
    with pytest.raises(BadFile, match="twice"):
        sketch_checkpoint(saved(tmp_path / "both.safetensors", both))
    with pytest.raises(BadFile, match="more than once"):
        sketch_checkpoint(tmp_path)


def test_a_weight_that_is_no_number_is_undecided(tmp_path: Path) -> None:
    broken = {**WEIGHTS, "blocks.1.mlp.layer2": torch.full((96, 64), torch.nan)}
    sketch = sketch_checkpoint(saved(tmp_path / "a.safetensors", named(broken)))
    assert sketch.undecided == ("blocks.1.mlp.layer2",)
    assert_same(sketch, {n: v for n, v in WANTED.items() if n != "blocks.1.mlp.layer2"})


def test_a_file_that_loses_its_end_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.safetensors", named(WEIGHTS))

    def cut(found: Path) -> Shards:
        shards = read_shards(found)
        found.write_bytes(found.read_bytes()[:9000])
        return shards

    monkeypatch.setattr("lorakit.sketches.reading.read_shards", cut)
    with pytest.raises(BadFile, match="cut short"):
        sketch_checkpoint(path)
