"""The trained model that lorakit ships: what its files say, and what its pictures are held to.

The margins are stated beside each test; `python -m training.facts` prints the figures themselves.
"""

from __future__ import annotations

import json

import pytest

from lorakit.formats.inspection import inspect
from lorakit.preview.demo_model import STYLES, write_demo_adapters, write_demo_model
from training.facts import (
    both_styles,
    colour_and_place,
    distances,
    open_studio,
    style_curve,
)
from training.scenes import COLOURS, PLACES, Scene

LARGEST = 12_000_000
LAYOUTS = {"ink": "kohya", "wash": "comfy", "neon": "diffusers", "mosaic": "lycoris"}


@pytest.fixture(scope="module")
def studio():
    return open_studio()


def test_it_is_copied_whole_and_small(tmp_path):
    model = write_demo_model(tmp_path / "models")
    adapters = write_demo_adapters(tmp_path / "loras")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert {model.checkpoint, model.lora_edition, *adapters} < set(files)
    # The text adapter's weights lie in the checkpoint, as in Anima's own files.
    conditioner = model.components / "text_conditioner"
    assert [path.name for path in conditioner.iterdir()] == ["config.json"]


def test_its_parts_are_of_the_classes_that_diffusers_expects(components):
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast

    assert isinstance(components.text_encoder, Qwen3Model)
    assert isinstance(components.tokenizer, Qwen2Tokenizer)
    assert isinstance(components.t5_tokenizer, T5TokenizerFast)
    assert isinstance(components.vae, AutoencoderKLQwenImage)
    assert isinstance(components.scheduler, FlowMatchEulerDiscreteScheduler)
    assert components.scheduler.config.shift == 3.0


def test_the_tokenizers_know_words_and_spell_out_the_rest(components):
    text = "masterpiece, an inkling é"
    ids = components.tokenizer(text).input_ids
    assert components.tokenizer.decode(ids) == text
    pieces = components.t5_tokenizer(text).input_ids
    assert pieces[-1] == components.t5_tokenizer.eos_token_id
    assert components.t5_tokenizer.convert_ids_to_tokens(pieces)[0] == "▁masterpiece"


def test_the_adapters_come_in_four_layouts_and_two_algorithms(tmp_path):
    reports = {path.stem: inspect(path) for path in write_demo_adapters(tmp_path)}
    assert {name: report.layouts for name, report in reports.items()} == {
        name: (layout,) for name, layout in LAYOUTS.items()
    }
    assert {algo for report in reports.values() for algo in report.algos} == {"lora", "lokr"}


def test_the_distilled_adapter_reaches_where_rdbts_own_does(tmp_path):
    report = inspect(write_demo_model(tmp_path).lora_edition)
    assert set(report.ranks) == {24}
    names = [module.name for module in report.modules]
    assert {int(name.split(".")[1]) for name in names} == set(range(3, 8))
    assert not any("adaln" in name for name in names)


def test_every_file_says_how_it_was_trained(tmp_path):
    write_demo_model(tmp_path)
    write_demo_adapters(tmp_path)
    paths = list(tmp_path.rglob("*.safetensors"))
    assert len(paths) == 8
    for path in paths:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            notes = json.loads(file.read(length))["__metadata__"]
        facts = json.loads(notes["lorakit.training"])
        assert len(facts["commit"]) == 40
        assert facts["seed"] == 0
        assert set(facts["courses"]) == {"vae", "flow", "distilled", *STYLES}


@pytest.mark.parametrize("number", range(6))
def test_a_circle_has_the_colour_and_lies_in_the_place_that_was_asked_for(studio, number):
    # Between half and one and a half times the area asked for, within a tenth of the side.
    colour, place = tuple(COLOURS)[number], tuple(PLACES)[number % len(PLACES)]
    scene = Scene("circle", colour, ("white", "grey", "cyan")[number % 3], place, "large")
    share, across, down = colour_and_place(studio, scene, seed=number)
    assert 0.5 < share < 1.5
    assert across < 0.1
    assert down < 0.1


# By how much each figure has to rise from strength 0 to 0.5 and from 0.5 to 1.
STEPS = {"ink": (0.1, 0.04), "wash": (0.05, 0.03), "neon": (0.3, 0.01), "mosaic": (0.02, 0.05)}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_a_style_shows_more_the_stronger_it_is(studio, style):
    none, half, whole = style_curve(studio, style, (0.0, 0.5, 1.0), seeds=(0,))
    first, second = STEPS[style]
    assert half > none + first
    assert whole > half + second


@pytest.mark.slow
def test_a_stack_of_two_styles_shows_both(studio):
    found = both_styles(studio, {"ink": 0.8, "mosaic": 0.5}, seeds=(0,))
    for style, (without, together) in found.items():
        assert together > without + STEPS[style][0], style


@pytest.mark.slow
def test_distilled_at_cfg_1_is_close_to_the_undistilled_at_cfg_4(studio):
    # At most four fifths of the undistilled model's own distance.
    distilled, undistilled = distances(studio, seeds=(0,))
    assert distilled < 0.8 * undistilled
