"""What a saved picture says of itself, and to whom."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.formats.png_text import read_png_text
from lorakit.preview.made_from import MadeFrom, UsedEntry
from lorakit.preview.picture import infotext, save_picture, versions
from lorakit.preview.read_picture import read_generation
from lorakit.preview.settings import RenderSettings
from lorakit.strengths import Strength

SETTINGS = RenderSettings("a lighthouse", "red", 64, 96, 12, 2.5, 7, 3.0)
ORIGIN = MadeFrom(
    base="my, base",
    base_sha256="ab" * 32,
    entries=(
        UsedEntry("ink: v2", Strength.parse("0.8@blocks=0-2:0.5"), "01" * 32, "23" * 32),
        UsedEntry("wash", Strength.parse("-0.5@components=dit:0.5"), "45" * 32, "67" * 32),
    ),
    device="cpu",
    dtype="float32",
    recipe="rdbt",
)
# How A1111 finds the settings in a line, as its users' other tools have copied it.
A1111_SETTING = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def saved(path: Path, settings: RenderSettings = SETTINGS, origin: MadeFrom = ORIGIN) -> Path:
    save_picture(Image.new("RGB", (8, 8)), path, settings, origin, overwrite=True)
    return path


def test_other_tools_read_the_prompt_and_one_number_an_adapter() -> None:
    prompt, negative, line = infotext(SETTINGS, ORIGIN).split("\n")
    assert prompt == "a lighthouse <lora:ink v2:0.8> <lora:wash:-0.25>"
    assert negative == "Negative prompt: red"
    settings = dict(A1111_SETTING.findall(line))
    assert settings["Size"] == "64x96"
    assert settings["CFG scale"] == "2.5"
    assert settings["Model hash"] == "abababababab"[:10]
    assert json.loads(settings["Model"]) == "my, base"
    # A1111's short hash is of the tensors.
    assert json.loads(settings["Lora hashes"]) == "ink v2: 232323232323, wash: 676767676767"
    assert line.startswith("Steps: 12, ")


def test_the_record_is_read_back_whole(tmp_path: Path) -> None:
    made = read_generation(saved(tmp_path / "a.png"))
    assert (made.program, made.prompt, made.negative_prompt) == ("lorakit", "a lighthouse", "red")
    assert (made.width, made.height, made.steps, made.cfg) == (64, 96, 12, 2.5)
    assert (made.seed, made.shift, made.denoise) == (7, 3.0, None)
    assert (made.base_name, made.base_hash) == ("my, base", "ab" * 32)
    assert [(a.name, a.hashes) for a in made.adapters] == [
        ("ink: v2", ("01" * 32, "23" * 32)),
        ("wash", ("45" * 32, "67" * 32)),
    ]
    assert [Strength.parse(a.strength or "") for a in made.adapters] == [
        entry.strength for entry in ORIGIN.entries
    ]
    assert made.environment == {
        **versions(),
        "device": "cpu",
        "dtype": "float32",
        "saving": "",
        "compiled": "no",
    }


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(TEXTS, TEXTS, TEXTS.filter(str.strip), st.integers(0, 2**63 - 1))
def test_any_prompt_and_name_come_back_from_the_file(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, negative: str, name: str, seed: int
) -> None:
    settings = replace(SETTINGS, prompt=prompt, negative_prompt=negative, seed=seed)
    origin = replace(ORIGIN, entries=(replace(ORIGIN.entries[0], name=name),))
    made = read_generation(saved(tmp_path_factory.getbasetemp() / "any.png", settings, origin))
    assert (made.prompt, made.negative_prompt, made.seed) == (prompt, negative, seed)
    assert made.adapters[0].name == name


def test_a_text_without_the_record_still_tells_most(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", infotext(SETTINGS, ORIGIN))
    Image.new("RGB", (8, 8)).save(tmp_path / "copy.png", pnginfo=info)
    made = read_generation(tmp_path / "copy.png")
    assert made.program == "lorakit"
    assert made.left_out == ()
    assert (made.prompt, made.cfg, made.seed, made.shift) == ("a lighthouse", 2.5, 7, 3.0)
    assert made.adapters[0].hashes == ("2323" * 3,)


def test_the_starting_image_is_named_without_its_folder(tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (4, 4)).save(start)
    path = saved(tmp_path / "a.png", replace(SETTINGS, image=start, denoise=0.5))
    made = read_generation(path)
    assert made.start_image is not None
    assert (made.start_image.name, made.denoise) == ("start.png", 0.5)
    assert str(tmp_path) not in "".join(read_png_text(path).values())
    assert "Denoising strength: 0.5" in read_png_text(path)["parameters"]


def test_a_damaged_record_is_passed_over_for_the_text(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    for record in ("{", "[]", '{"schema": 3}', '{"version": "0.0.9"}'):
        info = PngInfo()
        info.add_itxt("lorakit", record)
        info.add_itxt("parameters", infotext(SETTINGS, ORIGIN))
        Image.new("RGB", (8, 8)).save(tmp_path / "odd.png", pnginfo=info)
        assert read_generation(tmp_path / "odd.png").seed == 7
    odd = json.dumps(
        {"schema": "lorakit/picture/1", "settings": [], "entries": {"a": 1}, "base": 3}
    )
    info = PngInfo()
    info.add_itxt("lorakit", odd)
    Image.new("RGB", (8, 8)).save(tmp_path / "odd.png", pnginfo=info)
    assert read_generation(tmp_path / "odd.png").adapters == ()


def test_a_picture_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(BadUsage, match=r"a\.png"):
        save_picture(Image.new("RGB", (8, 8)), path, SETTINGS, ORIGIN, overwrite=False)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, os.strerror(28))

    for failure in (full, _interrupt):
        monkeypatch.setattr(Image.Image, "save", failure)
        with pytest.raises((LorakitError, KeyboardInterrupt)):
            saved(path)
        assert path.read_bytes() == before
        assert [found.name for found in tmp_path.iterdir()] == ["a.png"]


def _interrupt(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("hashes", [{"LORA:ink": "0123456789"}, {}], ids=["hashes", "no hashes"])
def test_what_a_text_leaves_out_is_taken_from_the_graph_beside_it(
    tmp_path: Path, hashes: dict[str, str]
) -> None:
    from PIL.PngImagePlugin import PngInfo

    loader = {"lora_name": "ink.safetensors", "strength_model": 0.7}
    graph = {
        "1": {"class_type": "LoraLoaderModelOnly", "inputs": loader},
        "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "latent_image": ["3", 0]}},
    }
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    info.add_text(
        "parameters",
        f"a sea\nSteps: 9, Seed: 3, Size: 8x8, Hashes: {json.dumps(hashes)}, Version: ComfyUI",
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "both.png", pnginfo=info)
    made = read_generation(tmp_path / "both.png")
    assert (made.prompt, made.steps) == ("a sea", 9)
    ((name, arguments),) = [(a.name, a.arguments) for a in made.adapters]
    assert (name, arguments) == ("ink", ("0.7",))


def test_a_picture_of_nothing_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(BadFile, match=r"plain\.png"):
        read_generation(tmp_path / "plain.png")
