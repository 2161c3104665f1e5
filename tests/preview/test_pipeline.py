from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from lorakit.errors import LorakitError
from lorakit.preview.pipeline import Renderer
from lorakit.preview.settings import RenderSettings

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
def test_a_picture_of_nan_is_refused(weights, components, value):
    key = "blocks.7.mlp.layer2.weight"
    broken = {**weights, key: torch.full_like(weights[key], value)}
    with pytest.raises(LorakitError, match="NaN") as caught:
        Renderer.open(broken, components, device="cpu").render(SMALL)
    assert caught.value.hint
