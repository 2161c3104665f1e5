"""Adapters for other models are told apart by name and width, and Anima's own are never taken for them.

`other_models.json` holds layers of models as their own code builds them: the stem of each stack, how many blocks
it has, and the layers of a block with their (out, in).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
NAMED = (".lora_A.default.weight", ".lora_B.default.weight")
FLAT = (".lora_down.weight", ".lora_up.weight")
Spelling = tuple[str, tuple[str, str]]
SPELLINGS: Mapping[str, tuple[Spelling, ...]] = {
    "original": (
        ("diffusion_model.{}", DOTTED),
        ("lora_unet_{}", FLAT),
        ("lycoris_{}", FLAT),
        ("pipe.dit.{}", NAMED),
        ("lora_unet__{}", FLAT),
    ),
    "diffusers": (
        ("transformer.{}", DOTTED),
        ("lora_transformer_{}", FLAT),
        ("base_model.model.{}", DOTTED),
        ("diffusion_model.{}", FLAT),
        ("unet.base_model.model.{}", DOTTED),
    ),
    "unet": (("lora_unet_{}", FLAT), ("unet.{}", (".lora.down.weight", ".lora.up.weight"))),
    "text": (("lora_te1_{}", FLAT), ("lora_te_{}", FLAT), ("text_encoder_2.{}", DOTTED)),
    "gemma": (("lora_te_{}", FLAT), ("text_encoder.model.{}", DOTTED)),
}
Layers = dict[str, tuple[int, int]]


def layers_of(table: Mapping[str, Any]) -> Layers:
    return {
        f"{stem.format(block)}.{name}".lstrip("."): (rows, columns)
        for stem, (blocks, names) in table["stacks"].items()
        for block in range(blocks)
        for name, (rows, columns) in names.items()
    }


def spellings(number: int, table: Mapping[str, Any]) -> Iterable[Spelling]:
    """Every spelling of a few layers, and one of many: the next model has the next."""
    known = SPELLINGS[table["style"]]
    return known if len(layers_of(table)) < 50 else (known[number % len(known)],)


def lora(layers: Mapping[str, tuple[int, int]], spelling: Spelling) -> dict[str, Payload]:
    stem, parts = spelling
    flat = parts == FLAT and stem.endswith("_{}")
    found: dict[str, Payload] = {}
    for name, (rows, columns) in layers.items():
        spelt = stem.format(name.replace(".", "_") if flat else name)
        found[spelt + parts[0]] = zeros("BF16", (RANK, columns))
        found[spelt + parts[1]] = zeros("BF16", (rows, RANK))
    return found


CASES = [
    pytest.param(table, spelling, id=f"{table['family']} {number} {spelling[0]}")
    for number, table in enumerate(TABLES)
    for spelling in spellings(number, table)
]


def inspected(folder: Path, tensors: Mapping[str, Payload]) -> lorakit.AdapterReport:
    path = write_safetensors(folder / "adapter.safetensors", tensors)
    return lorakit.inspect(path, hashes=False)


def spoken(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


@pytest.mark.parametrize(("table", "spelling"), CASES)
def test_another_model_is_named(table: dict[str, Any], spelling: Spelling, tmp_path: Path) -> None:
    layers = layers_of(table)
    report = inspected(tmp_path, lora(layers, spelling))
    told = table.get("told", [table["family"]])
    assert report.family == spoken(told)
    assert report.modules == ()
    assert len(report.unused_keys) == 2 * len(layers)
    not_certain = " (which of them is not certain)" if len(told) > 1 else ""
    assert f"An adapter for {spoken(told)}{not_certain}, not for Anima" in report.notes[0]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_part_of_another_model_is_given_a_wrong_name(
    data: st.DataObject, tmp_path: Path
) -> None:
    table = data.draw(st.sampled_from(TABLES))
    spelling = data.draw(st.sampled_from(SPELLINGS[table["style"]]))
    whole = layers_of(table)
    kinds = sorted({name.rpartition(".")[2] for name in whole})
    some = data.draw(st.sets(st.sampled_from(kinds), min_size=1))
    every = data.draw(st.integers(1, 7))
    layers = {n: s for n, s in whole.items() if n.rpartition(".")[2] in some}
    layers = dict(list(layers.items())[::every])
    report = inspected(tmp_path, lora(layers, spelling))
    names = table.get("told", [table["family"]])
    if report.family == "Anima":
        assert report.family_told is not None
        assert report.family_told.name is None
        assert set(names) <= set(report.look_alikes)
    elif report.family is not None:
        assert all(name in report.family for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_anima_is_anima_however_it_is_spelt(name: str, tmp_path: Path) -> None:
    report = inspected(tmp_path, layout_tensors(read_layout(name)))
    assert report.family == "Anima"
    assert report.look_alikes == ()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_part_of_an_anima_adapter_is_another_models(data: st.DataObject, tmp_path: Path) -> None:
    tensors = layout_tensors(read_layout(data.draw(st.sampled_from(NAMES))))
    paths = sorted(
        {key.partition(".lora")[0].partition(".lokr")[0].partition(".hada")[0] for key in tensors}
    )
    kept = data.draw(st.sets(st.sampled_from(paths), min_size=1, max_size=12))
    part = {key: value for key, value in tensors.items() if key.startswith(tuple(kept))}
    assert inspected(tmp_path, part).other_model is None


@pytest.mark.parametrize("blocks", [28, 40, 52])
def test_no_size_of_anima_is_another_model(blocks: int, tmp_path: Path) -> None:
    report = inspected(tmp_path, lora(dit_shapes(blocks), ("diffusion_model.{}", DOTTED)))
    assert report.family == "Anima"


@pytest.mark.parametrize("name", list(ANIMA_SHAPES)[:12])
def test_one_layer_of_anima_is_enough(name: str, tmp_path: Path) -> None:
    report = inspected(tmp_path, lora({name: ANIMA_SHAPES[name]}, ("lora_unet_{}", FLAT)))
    assert report.family == "Anima"


def first(family: str, style: str) -> dict[str, Any]:
    return next(one for one in TABLES if (one["family"], one["style"]) == (family, style))


@pytest.mark.parametrize("beside", ["diff_b", "diff", "dora_scale", "w_norm", "lora_mid.weight"])
@pytest.mark.parametrize(
    ("stem", "parts"), [("lora_unet_{}", FLAT), ("diffusion_model.{}", DOTTED)]
)
def test_what_stands_beside_factors_makes_no_second_layer(
    tmp_path: Path, stem: str, parts: tuple[str, str], beside: str
) -> None:
    name = "blocks.0.self_attn.q_proj"
    path = stem.format(name if "." in stem else name.replace(".", "_"))
    shapes = {parts[0]: (RANK, 2048), parts[1]: (2048, RANK), f".{beside}": (2048, 1)}
    file = tmp_path / "ink.safetensors"
    write_safetensors(
        file, {f"{path}{part}": zeros("F16", shape) for part, shape in shapes.items()}
    )
    report = lorakit.inspect(file)
    assert report.other_model is None
    assert [module.name for module in report.modules] == [name]


def test_a_few_names_in_common_make_no_anima_adapter(tmp_path: Path) -> None:
    # `proj_out` is the last layer of most of diffusers' transformers.
    layers = {**layers_of(first("FLUX.1", "diffusers")), "proj_out": (64, 3072)}
    assert inspected(tmp_path, lora(layers, ("transformer.{}", DOTTED))).family == "FLUX.1"
    unknown = {f"strange.{n}.mixer": (640, 640) for n in range(9)} | {"proj_out": (64, 3072)}
    report = inspected(tmp_path, lora(unknown, ("transformer.{}", DOTTED)))
    assert (report.family, report.modules) == (None, ())


def test_what_several_models_have_is_not_decided(tmp_path: Path) -> None:
    whole = layers_of(first("FLUX.1", "original"))
    attention = {name: shape for name, shape in whole.items() if "attn" in name}
    report = inspected(tmp_path, lora(attention, ("lora_unet_{}", FLAT)))
    assert report.family == "FLUX.1 or Chroma"
    assert "(which of them is not certain)" in report.notes[0]
    one = {name: shape for name, shape in attention.items() if ".0." in name}
    report = inspected(tmp_path, lora(one, ("lora_unet_{}", FLAT)))
    assert report.other_model is not None
    # Without the last blocks, a model of more of them is not ruled out.
    assert set(report.other_model.names) > {"FLUX.1", "Chroma", "HunyuanVideo"}


@pytest.mark.parametrize(
    ("change", "family"),
    [
        (lambda layers: layers, "Qwen-Image"),
        # A width or a block that the model does not have.
        (lambda layers: layers | {"transformer_blocks.3.attn.to_q": (3072, 3000)}, None),
        (lambda layers: layers | {"transformer_blocks.60.attn.to_q": (3072, 3072)}, None),
        # What a trainer adds of its own.
        (lambda layers: layers | {"router.gate": (16, 3072)}, "Qwen-Image"),
        (lambda layers: layers | {f"router.{n}.gate": (16, 3072) for n in range(200)}, None),
    ],
)
def test_what_contradicts_a_model_is_not_given_its_name(
    change: Callable[[Layers], Layers], family: str | None, tmp_path: Path
) -> None:
    layers = change(layers_of(first("Qwen-Image", "diffusers")))
    assert inspected(tmp_path, lora(layers, ("transformer.{}", DOTTED))).family == family


def test_a_text_encoder_beside_the_transformer_changes_nothing(tmp_path: Path) -> None:
    text = next(one for one in TABLES if one["style"] == "gemma")
    tensors = lora(layers_of(first("Lumina 2", "original")), ("lora_unet_{}", FLAT)) | lora(
        layers_of(text), ("lora_te_{}", FLAT)
    )
    assert inspected(tmp_path, tensors).family == "Lumina 2"


def test_names_that_no_model_has_are_shown(tmp_path: Path) -> None:
    layers = {"strange.0.mixer": (64, 64), "strange.1.mixer": (64, 64), "strange.0.gate": (64, 64)}
    report = inspected(tmp_path, lora(layers, ("diffusion_model.{}", DOTTED)))
    assert report.family is None
    assert report.notes[0] == (
        "No Anima adapter in this file: none of its 6 tensors patches a known module; "
        "they are of diffusion_model.strange.0.mixer and diffusion_model.strange.0.gate."
    )


def test_what_cosmos_added_after_anima_was_made_tells_it(tmp_path: Path) -> None:
    layers = {**dit_shapes(28), "crossattn_proj.0": (1024, 100352)}
    layers = {name: shape for name, shape in layers.items() if not name.startswith("llm_adapter.")}
    report = inspected(tmp_path, lora(layers, ("diffusion_model.{}", DOTTED)))
    assert report.family == "Cosmos-Predict2.5 (2B)"


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    layers = layers_of(first("Qwen-Image", "diffusers"))
    path = tmp_path / "adapter.safetensors"
    write_safetensors(path, lora(layers, ("transformer.{}", DOTTED)))
    with pytest.raises(BadFile, match=r"holds no Anima adapter\. An adapter for Qwen-Image"):
        lorakit.load_adapter(path)


def test_widths_that_nobody_published_are_not_guessed(tmp_path: Path) -> None:
    layers = {"layers.0.attention.to_q": (1000, 1000)}
    report = inspected(tmp_path, lora(layers, ("diffusion_model.{}", DOTTED)))
    assert report.family is None
    assert "No Anima adapter in this file" in report.notes[0]


def test_a_small_model_of_anima_keeps_its_adapters(tmp_path: Path) -> None:
    # Sizes are the file's own: only widths that another model has tell it apart.
    layers = {"blocks.0.self_attn.q_proj": (128, 128), "blocks.0.cross_attn.k_proj": (128, 64)}
    assert inspected(tmp_path, lora(layers, ("diffusion_model.{}", DOTTED))).family == "Anima"


def test_the_widths_of_a_lokr_tell_too(tmp_path: Path) -> None:
    stem = "lora_unet_blocks_0_self_attn_q_proj"
    tensors = {
        f"{stem}.lokr_w1": zeros("F32", (64, 64)),
        f"{stem}.lokr_w2": zeros("F32", (80, 80)),
    }
    report = inspected(tmp_path, tensors)
    assert report.family == "Cosmos-Predict2 (14B) or Cosmos-Predict2.5 (14B)"


@pytest.mark.parametrize(
    ("header", "name", "how"),
    [
        (
            {},
            None,
            "and LTX-Video (2B), and its header names none of them",
        ),
        ({"modelspec.architecture": "ltxv-2b/lora"}, "LTX-Video (2B)", "modelspec.architecture"),
        ({"ss_base_model_version": "anima"}, "Anima", "ss_base_model_version: anima"),
    ],
)
def test_what_anima_and_another_model_share_is_told_by_the_header_alone(
    header: dict[str, str], name: str | None, how: str, tmp_path: Path
) -> None:
    whole = layers_of(first("LTX-Video (2B)", "diffusers"))
    layers = {n: shape for n, shape in whole.items() if "attn1.to_q" in n}
    path = tmp_path / "adapter.safetensors"
    write_safetensors(path, lora(layers, ("transformer.{}", DOTTED)), header)
    report = lorakit.inspect(path, hashes=False)
    assert report.look_alikes == ("LTX-Video (2B)",)
    assert report.family_told is not None
    assert report.family_told.name == name
    assert how in report.family_told.how
    assert any("Made for LTX-Video" in note for note in report.remarks) == (
        name == "LTX-Video (2B)"
    )


def test_cosmos_in_the_header_is_said_where_the_layers_are_the_same(tmp_path: Path) -> None:
    tensors = lora({"blocks.0.self_attn.q_proj": (2048, 2048)}, ("diffusion_model.{}", DOTTED))
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
    write_safetensors(path, lora(layers, ("diffusion_model.{}", DOTTED)), header)
    report = lorakit.inspect(path, hashes=False)
    assert report.family_told is not None
    assert report.family_told.name == name
    assert how in report.family_told.how
    assert any("not trained on Anima" in note for note in report.remarks) == (name == COSMOS)


def test_widths_of_no_published_model_are_told_by_names_alone(tmp_path: Path) -> None:
    layers = {"blocks.0.self_attn.q_proj": (128, 128)}
    report = inspected(tmp_path, lora(layers, ("diffusion_model.{}", DOTTED)))
    assert report.family_told == FamilyTold("Anima", "by the names of its layers")
