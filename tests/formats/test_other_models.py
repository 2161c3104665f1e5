"""Adapters for other models are told apart by name and width, and Anima's own are never taken for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lorakit
from lorakit.errors import BadFile
from lorakit.formats.family import COSMOS, FamilyTold
from tests.factories import ANIMA_SHAPES, Payload, dit_shapes, write_safetensors, zeros
from tests.layouts import NAMES, layout_tensors, read_layout

TABLES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("other_models.json").read_text("utf-8")
)
RANK = 4
# How trainers spell a layer, by whose names they use: up to its part, and the parts of the two factors.
DOTTED = (".lora_A.weight", ".lora_B.weight")
FLAT = (".lora_down.weight", ".lora_up.weight")
SPELLINGS = {
    "original": (("diffusion_model.{}", DOTTED), ("lora_unet_{}", FLAT)),
    "diffusers": (
        ("transformer.{}", DOTTED),
        ("lora_unet_{}", FLAT),
        ("base_model.model.{}", DOTTED),
    ),
    "unet": (("lora_unet_{}", FLAT), ("unet.{}", (".lora.down.weight", ".lora.up.weight"))),
    "text": (("lora_te1_{}", FLAT), ("lora_te_{}", FLAT)),
}
CASES = [
    pytest.param(table, *spelling, id=f"{table['family']} {number} {spelling[0]}")
    for number, table in enumerate(TABLES)
    for spelling in SPELLINGS[table["style"]]
]


def lora(
    layers: Mapping[str, tuple[int, int]], stem: str, parts: tuple[str, str]
) -> dict[str, Payload]:
    found: dict[str, Payload] = {}
    for name, (rows, columns) in layers.items():
        spelt = stem.format(name.replace(".", "_") if parts == FLAT else name)
        found[spelt + parts[0]] = zeros("BF16", (RANK, columns))
        found[spelt + parts[1]] = zeros("BF16", (rows, RANK))
    return found


def written(folder: Path, tensors: Mapping[str, Payload]) -> Path:
    return write_safetensors(folder / "adapter.safetensors", tensors)


@pytest.mark.parametrize(("table", "stem", "parts"), CASES)
def test_another_model_is_named(
    table: dict[str, Any], stem: str, parts: tuple[str, str], tmp_path: Path
) -> None:
    path = written(tmp_path, lora(table["layers"], stem, parts))
    report = lorakit.inspect(path, hashes=False)
    assert report.family == table["family"]
    assert report.modules == ()
    assert len(report.unused_keys) == 2 * len(table["layers"])
    assert f"An adapter for {table['family']}, not for Anima" in report.notes[0]
    with pytest.raises(BadFile, match=r"holds no Anima adapter\. An adapter for"):
        lorakit.load_adapter(path)


@pytest.mark.parametrize("name", NAMES)
def test_anima_is_anima_however_it_is_spelt(name: str, tmp_path: Path) -> None:
    report = lorakit.inspect(written(tmp_path, layout_tensors(read_layout(name))), hashes=False)
    assert report.family == "Anima"


@pytest.mark.parametrize("blocks", [28, 40, 52])
def test_no_size_of_anima_is_another_model(blocks: int, tmp_path: Path) -> None:
    path = written(tmp_path, lora(dit_shapes(blocks), "diffusion_model.{}", DOTTED))
    assert lorakit.inspect(path, hashes=False).family == "Anima"


@pytest.mark.parametrize("name", list(ANIMA_SHAPES)[:12])
def test_one_layer_of_anima_is_enough(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, lora({name: ANIMA_SHAPES[name]}, "lora_unet_{}", FLAT))
    assert lorakit.inspect(path, hashes=False).family == "Anima"


def test_a_few_names_in_common_make_no_anima_adapter(tmp_path: Path) -> None:
    # `proj_out` is the last layer of most of diffusers' transformers.
    flux = next(one for one in TABLES if one["family"] == "FLUX.1")
    layers = {**flux["layers"], "proj_out": (64, 3072)}
    report = lorakit.inspect(
        written(tmp_path, lora(layers, "transformer.{}", DOTTED)), hashes=False
    )
    assert report.family == "FLUX.1"


def test_widths_that_nobody_published_are_not_guessed(tmp_path: Path) -> None:
    layers = {"layers.0.attention.to_q": (1000, 1000)}
    report = lorakit.inspect(
        written(tmp_path, lora(layers, "diffusion_model.{}", DOTTED)), hashes=False
    )
    assert report.family is None
    assert "No Anima adapter in this file" in report.notes[0]


def test_a_small_model_of_anima_keeps_its_adapters(tmp_path: Path) -> None:
    # Sizes are the file's own: only widths that another model has tell it apart.
    layers = {"blocks.0.self_attn.q_proj": (128, 128), "blocks.0.cross_attn.k_proj": (128, 64)}
    path = written(tmp_path, lora(layers, "diffusion_model.{}", DOTTED))
    assert lorakit.inspect(path, hashes=False).family == "Anima"


def test_the_widths_of_a_lokr_tell_too(tmp_path: Path) -> None:
    stem = "lora_unet_blocks_0_self_attn_q_proj"
    tensors = {
        f"{stem}.lokr_w1": zeros("F32", (64, 64)),
        f"{stem}.lokr_w2": zeros("F32", (80, 80)),
    }
    assert (
        lorakit.inspect(written(tmp_path, tensors), hashes=False).family == "Cosmos-Predict2 (14B)"
    )


def test_cosmos_in_the_header_is_said_where_the_layers_are_the_same(tmp_path: Path) -> None:
    tensors = lora({"blocks.0.self_attn.q_proj": (2048, 2048)}, "diffusion_model.{}", DOTTED)
    path = tmp_path / "adapter.safetensors"
    write_safetensors(path, tensors, {"modelspec.architecture": "cosmos-predict2-2b/lora"})
    report = lorakit.inspect(path, hashes=False)
    assert report.family == "Anima"
    assert any("was not trained on Anima" in note for note in report.remarks)
    assert report.family_told == FamilyTold(
        COSMOS, "by its header, modelspec.architecture: cosmos-predict2-2b/lora"
    )


@pytest.mark.parametrize(
    ("more", "header", "name", "how"),
    [
        ({}, {}, None, "its header names neither"),
        ({}, {"ss_sd_model_name": "animagine-xl.safetensors"}, None, "names neither"),
        ({}, {"ss_base_model_version": "anima"}, "Anima", "ss_base_model_version: anima"),
        ({}, {"modelspec.architecture": "Anima/lora"}, "Anima", "modelspec.architecture"),
        ({}, {"ss_network_module": "networks.lora_anima"}, "Anima", "ss_network_module"),
        ({}, {"ss_sd_model_name": "RDBT-v2.safetensors"}, "Anima", "ss_sd_model_name"),
        (
            {},
            {"ot_config": '{"model_type": "ANIMA", "x": "' + "x" * 90 + '"}'},
            "Anima",
            "ot_config",
        ),
        ({}, {"ss_sd_model_name": "Cosmos-Predict2-2B.safetensors"}, COSMOS, "ss_sd_model_name"),
        ({"llm_adapter.blocks.0.self_attn.q_proj": (1024, 1024)}, {}, "Anima", "text adapter"),
        ({"blocks.30.self_attn.q_proj": (2048, 2048)}, {}, "Anima", "more blocks than the 28"),
        # What Anima added decides, whatever the header says.
        (
            {"llm_adapter.blocks.0.self_attn.q_proj": (1024, 1024)},
            {"modelspec.architecture": "cosmos-predict2-2b/lora"},
            "Anima",
            "text adapter",
        ),
    ],
)
def test_what_tells_anima_from_the_model_it_was_made_from(
    tmp_path: Path,
    more: dict[str, tuple[int, int]],
    header: dict[str, str],
    name: str | None,
    how: str,
) -> None:
    layers = {"blocks.0.self_attn.q_proj": (2048, 2048), **more}
    path = tmp_path / "adapter.safetensors"
    write_safetensors(path, lora(layers, "diffusion_model.{}", DOTTED), header)
    report = lorakit.inspect(path, hashes=False)
    assert report.family_told is not None
    assert report.family_told.name == name
    assert how in report.family_told.how
    assert any("not trained on Anima" in note for note in report.remarks) == (name == COSMOS)


def test_widths_of_no_published_model_are_told_by_names_alone(tmp_path: Path) -> None:
    layers = {"blocks.0.self_attn.q_proj": (128, 128)}
    report = lorakit.inspect(written(tmp_path, lora(layers, "diffusion_model.{}", DOTTED)))
    assert report.family_told == FamilyTold("Anima", "by the names of its layers")
