"""Pictures that start from an image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.preview.settings import RenderSettings
from lorakit.preview.starting_image import read_starting_image
from tests.preview.test_pipeline import difference, pixels

SIZE = (64, 96)
SMALL = RenderSettings("ink portrait", width=64, height=96, steps=4)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """An image of the pictures' size: a red square on a blue to black slope."""
    path: Path = tmp_path_factory.mktemp("images") / "start.png"
    grid = np.zeros((96, 64, 3), np.uint8)
    grid[..., 2] = np.linspace(0, 255, 96)[:, None]
    grid[20:50, 10:40] = (220, 30, 30)
    Image.fromarray(grid).save(path)
    return path


def reconstruction(components, path: Path) -> Image.Image:
    """What the VAE alone makes of the image."""
    values = torch.from_numpy(pixels(Image.open(path))).permute(2, 0, 1)[None, :, None]
    with torch.no_grad():
        latents = components.vae.encode(values / 127.5 - 1).latent_dist.mode()
        decoded = components.vae.decode(latents).sample[0, :, 0].clamp(-1, 1)
    made = ((decoded + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(made)


def test_at_1_nothing_of_the_image_is_left(renderer, start):
    assert difference(renderer.render(SMALL), renderer.render(replace(SMALL, image=start))) == 0


def test_next_to_no_noise_leaves_what_the_vae_makes_of_the_image(renderer, components, start):
    # So small a shift makes the one step that is run begin at a thousandth of the noise.
    settings = replace(SMALL, image=start, denoise=0.01, steps=50, shift=0.05)
    picture = renderer.render(settings)
    assert difference(picture, reconstruction(components, start)) < 2
    assert difference(picture, renderer.render(SMALL)) > 20


def test_more_noise_leaves_less_of_the_image(renderer, components, start):
    goal = reconstruction(components, start)
    kept = [
        difference(goal, renderer.render(replace(SMALL, steps=20, image=start, denoise=denoise)))
        for denoise in (0.05, 0.5, 1.0)
    ]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


@pytest.mark.parametrize(("denoise", "first"), [(1.0, 0), (0.75, 1), (0.5, 2), (0.01, 3)])
def test_the_steps_that_are_left_out_are_neither_run_nor_counted(renderer, start, denoise, first):
    settings = replace(SMALL, image=start, denoise=denoise)
    assert (settings.first_step, settings.steps_run) == (first, 4 - first)
    counted: list[tuple[int, int]] = []
    begun: list[int] = []
    renderer.before_step = begun.append
    try:
        renderer.render(settings, on_step=lambda done, total: counted.append((done, total)))
    finally:
        renderer.before_step = lambda step: None
    assert counted == [(done + 1, 4 - first) for done in range(4 - first)]
    # The prompt is read with the strengths of step 0; strengths by step keep their place in the noise.
    assert begun == [0, *range(first, 4)]


def test_the_settings_of_a_starting_image_are_checked(start):
    for wrong in (0.0, -0.5, 1.5, float("nan")):
        with pytest.raises(BadUsage, match="denoising"):
            RenderSettings("ink", image=start, denoise=wrong)
    with pytest.raises(BadUsage, match="image"):
        RenderSettings("ink", denoise=0.5)
    assert RenderSettings("ink", image=start, denoise=0.5).to_dict()["image"] == str(start)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16", "I", "LA", "RGBA"])
def test_any_mode_is_read(tmp_path, mode):
    path = tmp_path / ("image.tiff" if mode in ("CMYK", "YCbCr", "I") else "image.png")
    source = Image.new("L", (10, 10), 255)
    if mode.startswith("I"):
        Image.fromarray(np.full((10, 10), 0xFF00, np.uint16)).convert(mode).save(path)
    else:
        source.convert(mode).save(path)
    image = read_starting_image(path, *SIZE)
    assert (image.mode, image.size) == ("RGB", SIZE)
    assert pixels(image).min() > 250


def test_sixteen_bits_keep_their_greys(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((96, 64), 0x8040, np.uint16)).save(path)
    assert np.unique(pixels(read_starting_image(path, *SIZE))).tolist() == [0x80]


def test_what_is_transparent_lies_on_white(tmp_path):
    half = Image.new("RGBA", (64, 96), (255, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 64, 48))
    for name, image in {"rgba.png": half, "palette.gif": half}.items():
        image.save(tmp_path / name)
        read = read_starting_image(tmp_path / name, *SIZE)
        assert read.getpixel((30, 10)) == (255, 255, 255), name
        assert read.getpixel((30, 80)) == (255, 0, 0), name


def test_the_orientation_of_a_photograph_is_heeded(tmp_path):
    path = tmp_path / "turned.jpg"
    image = Image.new("RGB", (96, 64), "black")
    image.paste("white", (0, 0, 48, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # Stored lying; it is to be turned by 90 degrees to the right.
    image.save(path, exif=exif, quality=95)
    read = pixels(read_starting_image(path, *SIZE))
    assert read[:40].min() > 240
    assert read[56:].max() < 15


def test_another_shape_is_cut_evenly_and_not_squeezed(tmp_path):
    path = tmp_path / "wide.png"
    image = Image.new("RGB", (300, 96), "red")
    image.paste("blue", (118, 0, 182, 96))
    image.save(path)
    assert np.unique(pixels(read_starting_image(path, *SIZE)).reshape(-1, 3), axis=0).tolist() == [
        [0, 0, 255]
    ]


def test_a_file_that_is_no_image_is_an_error_of_that_file(tmp_path, start):
    with pytest.raises(NotFound, match="none"):
        read_starting_image(tmp_path / "none.png", *SIZE)
    (tmp_path / "text.png").write_text("not an image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(start.read_bytes()[:-60])
    for path in (tmp_path / "text.png", cut):
        with pytest.raises(BadFile, match=path.name) as caught:
            read_starting_image(path, *SIZE)
        assert caught.value.hint
