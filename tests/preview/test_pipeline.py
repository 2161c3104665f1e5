from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from lorakit.preview.pipeline import Renderer
from lorakit.preview.quiet import quiet_libraries
from lorakit.preview.settings import RenderSettings
from lorakit.preview.unsound import UnsoundPicture

SMALL = RenderSettings("ink portrait", width=64, height=96, steps=3)


def pixels(image: Image) -> NDArray[np.int16]:
    return np.asarray(image).astype(np.int16)


def difference(left: Image, right: Image) -> float:
    return float(np.abs(pixels(left) - pixels(right)).mean())


def passes(renderer: Renderer, settings: RenderSettings) -> int:
    """How often the transformer runs for one picture."""
    seen: list[int] = []
    transformer = renderer._transformer
    hook = transformer.register_forward_hook(lambda *_: seen.append(1))
    try:
        renderer.render(settings)
    finally:
        hook.remove()
    return len(seen)


def test_cfg_1_costs_one_pass_a_step_and_cfg_4_two(renderer):
    assert passes(renderer, SMALL) == 3
    assert passes(renderer, replace(SMALL, cfg=4.0)) == 6
    # The guidance of one picture must not linger in the next.
    assert passes(renderer, SMALL) == 3


@pytest.fixture
def readings(components):
    """One entry for each time the text encoder runs."""
    seen: list[int] = []
    hook = components.text_encoder.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def test_a_prompt_is_read_once_for_many_pictures(weights, components, readings):
    renderer = Renderer.open(weights, components, device="cpu")
    for seed in range(3):
        renderer.render(replace(SMALL, seed=seed, cfg=1.0 + seed))
    # The prompt, and under guidance the negative prompt, which no other picture has changed.
    assert len(readings) == 2
    renderer.render(replace(SMALL, prompt="the sea", negative_prompt="unused at CFG 1"))
    assert len(readings) == 3


def test_a_prompt_is_read_again_when_the_weights_that_read_it_change(weights, components, readings):
    renderer = Renderer.open(weights, components, device="cpu")
    before = renderer.render(SMALL)
    live = renderer.live_tensors()["llm_adapter.out_proj.weight"]
    live.mul_(-2.0)
    renderer.text_key = "other"
    assert difference(before, renderer.render(SMALL)) > 0
    live.mul_(-0.5)
    renderer.text_key = None
    assert difference(before, renderer.render(SMALL)) == 0
    assert len(readings) == 2


def test_a_large_sheet_can_have_all_its_prompts_remembered(weights, components, readings):
    renderer = Renderer.open(weights, components, device="cpu")
    renderer.keep_prompts(40)
    for number in (*range(40), *range(40)):
        renderer._conditioning(f"prompt {number}")
    assert len(readings) == 40


def test_prompts_are_not_remembered_without_end(weights, components, readings):
    renderer = Renderer.open(weights, components, device="cpu")
    for number in range(40):
        renderer._conditioning(f"prompt {number}")
    assert len(renderer._prompts._known) < 40
    renderer._conditioning("prompt 39")
    assert len(readings) == 40
    renderer._conditioning("prompt 0")
    assert len(readings) == 41


@pytest.mark.parametrize("image", [None, "start.png"])
def test_the_stages_make_diffusers_own_picture(renderer, components, tmp_path, image):
    """The pipeline in one piece, as diffusers ships it, is the oracle."""
    from diffusers.guiders import ClassifierFreeGuidance
    from diffusers.modular_pipelines.anima import AnimaAutoBlocks

    start = renderer.render(replace(SMALL, seed=9))
    settings = replace(
        SMALL, cfg=4.0, negative_prompt="red", shift=components.scheduler.config.shift
    )
    given = {}
    if image is not None:
        start.save(tmp_path / image)
        settings = replace(settings, image=tmp_path / image, denoise=0.7)
        given = {"image": start, "strength": 0.7}
    with quiet_libraries():
        pipeline = AnimaAutoBlocks().init_pipeline()
        pipeline.update_components(
            transformer=renderer._transformer,
            text_conditioner=renderer._text_conditioner,
            guider=ClassifierFreeGuidance(guidance_scale=4.0),
            **{
                name: getattr(components, name)
                for name in ("text_encoder", "tokenizer", "t5_tokenizer", "vae", "scheduler")
            },
        )
        (expected,) = pipeline(
            prompt=SMALL.prompt,
            negative_prompt="red",
            width=64,
            height=96,
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(0),
            output="images",
            **given,
        )
    assert difference(renderer.render(settings), expected) == 0


def test_the_picture_has_the_size_asked_for(renderer):
    image = renderer.render(SMALL)
    assert image.size == (64, 96)
    assert image.mode == "RGB"


def test_a_seed_is_a_picture(renderer):
    first = renderer.render(SMALL)
    assert np.array_equal(pixels(first), pixels(renderer.render(SMALL)))
    assert difference(first, renderer.render(replace(SMALL, seed=1))) > 3


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "sea, blue landscape"},
        {"prompt": ""},
        {"steps": 4},
        {"shift": 1.0},
        {"cfg": 4.0},
        {"cfg": 4.0, "negative_prompt": "red"},
    ],
)
def test_every_setting_reaches_the_picture(renderer, change):
    assert difference(renderer.render(SMALL), renderer.render(replace(SMALL, **change))) > 0.5


def test_the_negative_prompt_counts_only_under_guidance(renderer):
    red = replace(SMALL, negative_prompt="red")
    guided, guided_red = replace(SMALL, cfg=4.0), replace(red, cfg=4.0)
    assert difference(renderer.render(guided), renderer.render(guided_red)) > 0.1
    assert difference(renderer.render(SMALL), renderer.render(red)) == 0


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_progress_counts_steps_whatever_the_guidance(renderer, cfg):
    seen: list[tuple[int, int]] = []
    renderer.render(replace(SMALL, cfg=cfg), on_step=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_empty_prompt_with_guidance_is_finite(renderer):
    renderer.render(replace(SMALL, prompt="", negative_prompt="", cfg=4.0))


def test_nothing_is_printed(renderer, capfd):
    renderer.render(SMALL)
    assert capfd.readouterr() == ("", "")


def test_the_callers_random_state_is_left_alone(renderer):
    before = torch.get_rng_state()
    renderer.render(SMALL)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_of_nan_is_refused_in_the_step_where_it_begins(weights, components, value, capfd):
    key = "blocks.1.mlp.layer2.weight"
    broken = {**weights, key: torch.full_like(weights[key], value)}
    renderer = Renderer.open(broken, components, device="cpu")
    seen: list[int] = []
    with pytest.raises(UnsoundPicture, match="NaN") as caught:
        renderer.render(SMALL, on_step=lambda done, total: seen.append(done))
    assert caught.value.hint
    assert (caught.value.place, caught.value.step, seen) == ("step", 0, [])
    assert renderer.unsound_part() == "transformer"
    assert capfd.readouterr() == ("", "")


def test_what_reads_the_prompt_is_told_apart(weights, components):
    key = "llm_adapter.out_proj.weight"
    broken = {**weights, key: torch.full_like(weights[key], float("nan"))}
    renderer = Renderer.open(broken, components, device="cpu")
    with pytest.raises(UnsoundPicture, match="prompt"):
        renderer.render(SMALL)
    assert renderer.unsound_part() == "text adapter"


def test_an_interrupted_picture_leaves_the_renderer_as_it_was(renderer):
    before = renderer.render(SMALL)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        renderer.render(replace(SMALL, seed=5, cfg=3.0), on_step=interrupt)
    assert difference(before, renderer.render(SMALL)) == 0
