"""The training of the demo model: what it computes, and that it can be stopped at any time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lorakit.preview.torchvision_shim import supply_nearest_resize
from training import fitting, train_demo
from training.fitting import Course, Run, fit
from training.pictures import mixed
from training.plans import DISTILLED, STYLE_PLANS
from training.scenes import COLOURS, Scene, draw, outline, prompt_of
from training.vae import decode, encode, one_frame, to_signed

SHORT = Course(steps=2, rate=1e-3, warm_up=1)


class Stopped(Exception):
    """Stands for a sudden end."""


def trained(folder: Path, stop_at: int | None) -> torch.Tensor:
    """A line fitted for six steps; with `stop_at`, broken off before that step and taken up again."""
    folder.mkdir(exist_ok=True)
    run = Run(folder, torch.device("cpu"))
    for attempt in range(1 if stop_at is None else 2):
        torch.manual_seed(attempt)
        model = torch.nn.Linear(3, 1)
        if attempt == 0:
            torch.nn.init.ones_(model.weight)
            torch.nn.init.zeros_(model.bias)
        done = 0

        def loss(model: torch.nn.Linear = model, attempt: int = attempt) -> torch.Tensor:
            nonlocal done
            done += 1
            if stop_at is not None and attempt == 0 and done > stop_at:
                raise Stopped
            made: torch.Tensor = model(torch.randn(8, 3))
            return made.sub(1.0).square().mean()

        try:
            fit(run, "line", model, Course(steps=6, rate=0.1, warm_up=1), loss)
        except Stopped:
            continue
    return torch.cat([model.weight.detach().flatten(), model.bias.detach()])


def test_a_training_that_was_stopped_gives_what_an_unbroken_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SAVE_EVERY", -1.0)
    whole = trained(tmp_path / "whole", None)
    assert torch.equal(trained(tmp_path / "broken", 4), whole)
    assert not torch.equal(whole, torch.tensor([1.0, 1.0, 1.0, 0.0]))


def test_one_frame_is_what_the_vae_computes() -> None:
    from diffusers import AutoencoderKLQwenImage

    from training.models import VAE

    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(**VAE).eval()
    pictures = to_signed(mixed(2, seed=0))
    with torch.no_grad():
        latents = vae.encode(pictures.unsqueeze(2)).latent_dist.mode().squeeze(2)
        made = vae.decode(latents.unsqueeze(2)).sample.squeeze(2)
        with one_frame(vae):
            torch.testing.assert_close(encode(vae, pictures), latents)
            torch.testing.assert_close(decode(vae, latents).clamp(-1, 1), made)
        torch.testing.assert_close(vae.decode(latents.unsqueeze(2)).sample.squeeze(2), made)


def test_a_scene_is_drawn_as_its_prompt_says() -> None:
    scene = Scene("square", "blue", "white", "on the left", "large")
    assert prompt_of(scene) == "a large blue square on the left, white background"
    picture = draw(scene)
    left, top = outline(scene)[0]
    right, bottom = outline(scene)[2]
    assert (
        picture.getpixel((round((left + right) / 2), round((top + bottom) / 2))) == COLOURS["blue"]
    )
    assert picture.getpixel((round(right) + 2, round(bottom) + 2)) == (246, 246, 244)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_stage_leads_to_files_that_render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.facts import EDITION, open_studio

    for name, value in {
        "VAE_COURSE": SHORT,
        "FLOW_COURSE": SHORT,
        "PICTURES": 16,
        "SCENES": 16,
        "STYLE_SCENES": 16,
        "STYLE_PLANS": tuple(replace(plan, course=SHORT) for plan in STYLE_PLANS),
        "DISTILLED": replace(DISTILLED, course=SHORT),
    }.items():
        monkeypatch.setattr(train_demo, name, value)
    supply_nearest_resize()
    train_demo.train(Run(tmp_path, torch.device("cpu")))
    studio = open_studio(tmp_path / "shipped")
    stack = {EDITION: -1.0, "ink": 1.0, "mosaic": 1.0}
    picture = studio.picture("a red circle", stack, cfg=4.0, steps=2)
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 0
