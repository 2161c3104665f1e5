"""`lorakit preview --from`: lorakit's own pictures, and those of other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorakit.preview.demo_model import DemoModel
from tests.cli.conftest import Cli
from tests.cli.running import Ran
from tests.cli.test_preview import record_of

SMALL = ("--size", "64x96", "--steps", "3", "--device", "cpu")
STACK = "ink:0.8@blocks=0-2:0.5@steps=0-1 wash:-0.3"


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def picture_with(path: Path, **texts: str) -> Path:
    """A picture that says of itself what another program would."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def listed(cli: Cli) -> dict[str, dict[str, str]]:
    """The adapters of the catalog by name."""
    return {record["name"]: record for record in cli("ls", "--json").document["adapters"]}


def planned(cli: Cli, picture: Path, *words: str) -> Ran:
    return cli("preview", "--from", picture, "--dry-run", "--json", *words)


def test_a_picture_is_made_again_pixel_by_pixel(ready: Cli, tmp_path: Path) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    words = ("-p", 'two lines,\n"ink" <sea>', "--negative", "red", "--cfg", "2.5", "--shift", "2")
    assert ready("preview", STACK, *words, *SMALL, "--seed", "11", "-o", first).code == 0
    ran = ready("preview", "--from", first, "--device", "cpu", "-o", again)
    assert ran.code == 0
    assert "Pixels may differ" not in ran.err
    assert pixels(again) == pixels(first)
    assert record_of(again) == record_of(first)
    other = ready("preview", "--from", first, "--seed", "12", "-o", tmp_path / "other.png")
    assert other.code == 0
    assert pixels(tmp_path / "other.png") != pixels(first)


def test_it_is_made_again_when_everything_has_another_name(
    cli: Cli, ready: Cli, demo: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    assert ready("preview", STACK, "-p", "@ink", *SMALL, "-o", first).code == 0
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "another-home"))
    folder = tmp_path / "renamed"
    folder.mkdir()
    for name, other in (("ink", "a"), ("wash", "b")):
        shutil.copy(
            demo.checkpoint.parent / "loras" / f"{name}.safetensors", folder / f"{other}.sft"
        )
    assert cli("add", folder).code == 0
    words = ("--name", "other", "--components", demo.components)
    assert cli("base", "add", demo.checkpoint, *words).code == 0
    ran = cli("preview", "--from", first, "--device", "cpu", "-o", again)
    assert ran.code == 0
    assert "found by its name" not in ran.err
    assert pixels(again) == pixels(first)


def test_it_begins_from_the_same_image_or_says_which_is_missing(ready: Cli, tmp_path: Path) -> None:
    start, first, again = (tmp_path / f"{name}.png" for name in ("start", "first", "again"))
    assert ready("preview", "-p", "@ink", *SMALL, "-o", start).code == 0
    words = ("-p", "@ink, sea", *SMALL, "--image", start, "--denoise", "0.7", "-o", first)
    assert ready("preview", *words).code == 0
    assert ready("preview", "--from", first, "--device", "cpu", "-o", again).code == 0
    assert pixels(again) == pixels(first)
    shutil.copy(first, start)
    planned(ready, first).failed_with(1, "start.png", "another image", "--image")
    start.unlink()
    planned(ready, first).failed_with(1, "start.png", "--image")
    assert planned(ready, first, "--image", str(again)).code == 0


def test_what_is_missing_is_listed_whole(cli: Cli, ready: Cli, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    first = tmp_path / "first.png"
    assert ready("preview", STACK, "-p", "@ink", *SMALL, "-o", first).code == 0
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "empty-home"))
    planned(cli, first).failed_with(1, "ink", "wash", "demo", "lorakit add")


def test_other_versions_are_said_before_the_picture_is_made(ready: Cli, tmp_path: Path) -> None:
    first = tmp_path / "first.png"
    assert ready("preview", "-p", "@ink", *SMALL, "-o", first).code == 0
    record = record_of(first)
    record["versions"] = {"torch": "1.0", "diffusers": "0.1"}
    old = picture_with(tmp_path / "old.png", lorakit=json.dumps(record))
    ran = ready("preview", "--from", old, "--device", "cpu", "-o", tmp_path / "again.png")
    assert ran.code == 0
    assert "Pixels may differ: torch 1.0 then" in ran.err


def test_a_record_of_a_newer_lorakit_is_not_guessed_at(ready: Cli, tmp_path: Path) -> None:
    newer = picture_with(tmp_path / "n.png", lorakit='{"schema": "lorakit/picture/9"}')
    planned(ready, newer).failed_with(4, "lorakit/picture/9", "Update")


@pytest.mark.parametrize("kind", ["file", "tensors"])
@pytest.mark.parametrize("digits", [8, 10, 12, 64])
def test_adapters_of_other_programs_are_found_by_any_usual_hash(
    ready: Cli, tmp_path: Path, kind: str, digits: int
) -> None:
    record = listed(ready)["wash"]
    digest = record["file_sha256" if kind == "file" else "tensor_sha256"][:digits].upper()
    text = (
        "@ink <lora:another name:0.6>\nSteps: 5, Sampler: Euler, Seed: 3, Size: 64x64, Model: demo, "
        f'Lora hashes: "another name: {digest}"'
    )
    ran = planned(ready, picture_with(tmp_path / "a.png", parameters=text))
    assert ran.document["stack"] == "wash:0.6"
    likeness, base = ran.document["remarks"]
    assert "made with A1111" in likeness
    assert "base demo was found by its name" in base


def test_an_adapter_is_found_by_a_hash_that_only_its_header_states(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    from tests.models import lora_file, random_lora, usual_names

    # What Forge writes: the header's hash, which a later resize has made untrue.
    stated = "fedcba9876543210" * 4
    small = models / "small.safetensors"
    lora_file(small, random_lora(usual_names(3), 3, seed=5), metadata={"sshs_model_hash": stated})
    assert stocked("add", small).code == 0
    text = f'x <lora:big:1>\nSteps: 5, Seed: 3, Size: 64x64, Lora hashes: "big: {stated[:12]}"'
    ran = planned(stocked, picture_with(tmp_path / "a.png", parameters=text))
    assert ran.document["stack"] == "small:1"


def test_without_a_hash_the_name_counts_and_that_is_said(ready: Cli, tmp_path: Path) -> None:
    text = (
        "a sea <lora:INK:0.5:0.75>\nNegative prompt: red\nSteps: 30, Sampler: er_sde, CFG scale: 0.5, "
        "Seed: 18446744073709551615, Size: 1000x999, Model: demo-rdbt"
    )
    ran = planned(ready, picture_with(tmp_path / "a.png", parameters=text))
    (picture,) = ran.document["pictures"]
    assert ran.document["stack"].startswith("ink:1@components=")
    assert (picture["width"], picture["height"]) == (992, 992)
    assert (picture["cfg"], picture["steps"]) == (1.0, 30)
    said = " ".join(ran.document["remarks"])
    for word in ("er_sde", "ink was found by its name", "1000 became 992", "seed", "cfg 0.5"):
        assert word in said


def test_a_comfyui_picture_and_options_over_it(ready: Cli, tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "demo-rdbt.safetensors"}},
        "2": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "x/wash.safetensors", "strength_model": 0.4, "model": ["1", 0]},
        },
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "@wash, a sea"}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 128}},
        "5": {
            "class_type": "KSampler",
            "inputs": {"seed": 5, "steps": 9, "cfg": 2.0, "sampler_name": "euler",
                       "scheduler": "simple", "denoise": 1, "model": ["2", 0],
                       "positive": ["3", 0], "negative": ["3", 0], "latent_image": ["4", 0]},
        },
    }  # fmt: skip
    picture = picture_with(tmp_path / "c.png", prompt=json.dumps(graph))
    ran = planned(ready, picture)
    (made,) = ran.document["pictures"]
    assert ran.document["stack"] == "wash:0.4"
    assert (made["prompt"], made["seed"], made["steps"], made["height"]) == (
        "@wash, a sea",
        5,
        9,
        128,
    )
    other = planned(ready, picture, "ink:0.2", "--seed", "1", "--size", "64x64", "-p", "b").document
    assert other["stack"] == "ink:0.2"
    assert (other["pictures"][0]["prompt"], other["pictures"][0]["steps"]) == ("b", 9)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_the_comment_of_a_photograph_format_is_read(
    ready: Cli, tmp_path: Path, suffix: str
) -> None:
    text = "墨, a sea <lora:ink:0.5>\nSteps: 5, Seed: 3, Size: 64x64, Model: demo"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    ran = planned(ready, path)
    assert ran.document["pictures"][0]["prompt"] == "墨, a sea"
    assert ran.document["stack"] == "ink:0.5"


def test_a_picture_that_says_nothing_or_is_none_is_one_sentence(ready: Cli, tmp_path: Path) -> None:
    planned(ready, picture_with(tmp_path / "bare.png")).failed_with(4, "bare.png", "says nothing")
    planned(ready, tmp_path / "none.png").failed_with(1, "none.png")
    for name, data in (
        ("text.png", b"hello"),
        ("half.png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("e.jpg", b""),
    ):
        (tmp_path / name).write_bytes(data)
        planned(ready, tmp_path / name).failed_with(4, name)


def test_a_seed_that_is_not_stated_or_no_number_is_told(ready: Cli, tmp_path: Path) -> None:
    for seed in ("NaN", ""):
        text = f"@ink\nSteps: 20, CFG scale: 1, Seed: {seed}, Size: 64x64"
        ran = planned(ready, picture_with(tmp_path / "a.png", parameters=text))
        assert ran.document["pictures"][0]["seed"] == 0
        assert any("seed" in remark for remark in ran.document["remarks"])
