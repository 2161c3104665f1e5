"""`lorakit preview`: one picture, and what is refused before any work."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from lorakit.cli.render_options import parse_seeds, parse_size
from lorakit.errors import BadUsage
from lorakit.preview.demo_model import DemoModel
from tests.cli.conftest import Cli
from tests.project.test_startup import HEAVY, modules

QUICK = ("--size", "64x64", "--steps", "2", "--seed", "7", "--device", "cpu", "-p", "@ink, a sea")


def record_of(path: Path) -> dict[str, object]:
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        found = json.loads(image.info["lorakit"])
    assert isinstance(found, dict)
    return found


def test_a_picture_is_rendered_and_carries_what_made_it(ready: Cli, tmp_path: Path) -> None:
    target = tmp_path / "[red] out.png"
    ran = ready("preview", "ink:0.8 wash:0.5@blocks=0-2:0", *QUICK, "-o", target)
    assert ran.code == 0
    assert ran.out == f"{target}  (cpu)\n"
    record = record_of(target)
    assert record["schema"] == "lorakit/picture/1"
    assert record["stack"] == "ink:0.8 wash:0.5@blocks=0-2:0"
    assert (record["device"], record["dtype"], record["recipe"]) == ("cpu", "float32", "rdbt")
    plain = ready("preview", *QUICK, "-o", tmp_path / "plain.png", "-q")
    assert plain.out == f"{tmp_path / 'plain.png'}\n"
    assert (tmp_path / "plain.png").read_bytes() != target.read_bytes()


def test_a_kept_stack_shows_the_pictures_that_were_made_with_it(ready: Cli, tmp_path: Path) -> None:
    assert ready("stack", "ink:0.8 wash:0.5", "--keep", "evening").code == 0
    assert ready("stack", "ink:0.8 wash:0.6", "--keep", "night").code == 0
    shown = ready("stack", "--show", "evening")
    assert "none yet: lorakit preview evening" in shown.out
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert ready("preview", "evening", *QUICK, "-o", first).code == 0
    # Typed otherwise, it is the same stack.
    assert ready("preview", "wash:0.5 ink:0.8", *QUICK, "-o", second).code == 0
    document = ready("stack", "--show", "Evening", "--json").document
    assert document["schema"] == "lorakit/stack-show/1"
    assert document["pictures"] == [str(second), str(first)]
    listed = ready("stack", "--list", "--json").document["stacks"]
    assert [len(one["pictures"]) for one in listed] == [2, 0]
    second.unlink()
    assert ready("stack", "--show", "evening", "-q").lines == [str(first)]
    # Another stack under the same name has other pictures.
    assert ready("stack", "ink:0.7", "--keep", "evening", "--overwrite").code == 0
    assert ready("stack", "--show", "evening", "-q").lines == []
    ready("stack", "--show", "nothing").failed_with(1, "nothing", "evening")


def test_a_kept_stack_brings_its_base(ready: Cli, tmp_path: Path) -> None:
    (base,) = ready("base", "ls", "--json").document["bases"]
    assert ready("base", "add", base["path"], "--name", "other", "--as", "rdbt").code == 0
    ready("preview", "ink:0.8", *QUICK, "--dry-run").failed_with(2, "--base")
    assert ready("stack", "ink:0.8", "--base", base["name"], "--keep", "evening").code == 0
    planned = ready("preview", "evening", *QUICK, "--dry-run", "--json").document
    assert planned["base"]["name"] == base["name"]
    asked = ready("preview", "evening", *QUICK, "--dry-run", "--json", "--base", "other").document
    assert asked["base"]["name"] == "other"


def test_files_that_are_in_no_catalog_are_hashed_for_the_record(
    cli: Cli, demo: DemoModel, tmp_path: Path
) -> None:
    import hashlib

    ink = demo.checkpoint.parent / "loras" / "ink.safetensors"
    words = ("--base", demo.checkpoint, "--components", demo.components, "-o", tmp_path / "a.png")
    assert cli("preview", f'"{ink}":0.5', *QUICK, *words).code == 0
    record = record_of(tmp_path / "a.png")
    sha256 = hashlib.sha256(ink.read_bytes()).hexdigest()
    base = hashlib.sha256(demo.checkpoint.read_bytes()).hexdigest()
    assert isinstance(record["entries"], list)
    assert record["entries"][0]["sha256"] == sha256
    assert record["base"] == {"name": "demo-rdbt", "sha256": base}
    # Pictures are shared, and folders are nobody's business.
    assert str(tmp_path.parent) not in json.dumps(record)


def test_an_rdbt_base_without_options_gets_the_recipe_of_its_card(ready: Cli) -> None:
    (picture,) = ready("preview", "--dry-run", "--json").document["pictures"]
    wanted = {"cfg": 1.0, "steps": 20, "width": 1024, "height": 1024, "shift": 3.0}
    assert wanted.items() <= picture.items()


def test_a_base_brings_its_own_recipe_and_options_come_first(stocked: Cli) -> None:
    words = ("preview", "ink", "--dry-run", "--json")
    (anima,) = stocked(*words).document["pictures"]
    assert (anima["cfg"], anima["steps"]) == (4.0, 30)
    (changed,) = stocked(*words, "--recipe", "rdbt", "--steps", "17").document["pictures"]
    assert (changed["cfg"], changed["steps"]) == (1.0, 17)
    stocked(*words, "--recipe", "nothing").failed_with(2, "nothing", "animayume")


def test_a_dry_run_imports_nothing_heavy(demo_home: Path) -> None:
    assert modules(demo_home, "preview", "ink", "-p", "@ink", "--dry-run") & HEAVY == set()


def test_json_says_what_was_rendered(ready: Cli, tmp_path: Path) -> None:
    ran = ready("preview", "ink:0.5", *QUICK, "-o", tmp_path / "a.png", "--json")
    assert ran.document["schema"] == "lorakit/preview/1"
    assert ran.document["device"] == "cpu"
    assert ran.document["pictures"][0]["path"] == str(tmp_path / "a.png")
    assert ran.document["pictures"][0]["settings"]["seed"] == 7
    assert [advice["code"] for advice in ran.document["advice"]] == ["few-steps"]
    assert ran.err == ""


def test_without_an_output_the_next_free_name_is_taken(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "preview-0001.png").write_bytes(b"kept")
    assert ready("preview", *QUICK, "-q").out == "preview-0002.png\n"
    assert (tmp_path / "preview-0001.png").read_bytes() == b"kept"


def test_a_picture_is_not_overwritten_unasked(ready: Cli, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"kept")
    ready("preview", *QUICK, "-o", target).failed_with(2, "a.png", "--overwrite")
    assert target.read_bytes() == b"kept"
    assert ready("preview", *QUICK, "-o", target, "--overwrite").code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"


def test_a_picture_can_start_from_another(ready: Cli, tmp_path: Path) -> None:
    start, plain, kept = (tmp_path / f"{name}.png" for name in ("start", "plain", "kept"))
    assert ready("preview", *QUICK, "-o", start).code == 0
    assert ready("preview", *QUICK, "--seed", "9", "-o", plain).code == 0
    words = ("--seed", "9", "--image", start, "--denoise", "0.5", "-o", kept)
    assert ready("preview", *QUICK, *words).code == 0
    assert kept.read_bytes() != plain.read_bytes()
    settings = record_of(kept)["settings"]
    assert isinstance(settings, dict)
    assert settings["image"]["name"] == "start.png"
    ready("preview", *QUICK, "--denoise", "0.5").failed_with(2, "--image")


def test_a_damaged_adapter_is_named_and_leaves_no_picture(
    ready: Cli, demo: DemoModel, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(demo.checkpoint.parent / "loras" / "ink.safetensors")
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    save_file({**tensors, key: tensors[key] * float("nan")}, tmp_path / "bad.safetensors")
    words = ("preview", f"wash:0.5 {tmp_path / 'bad.safetensors'}:0.7", *QUICK)
    ran = ready(*words, "-o", tmp_path / "a.png")
    assert (ran.code, ran.out) == (1, "")
    assert "Traceback" not in ran.err
    for word in ("Error: ", "NaN", "bad is damaged", key):
        assert word in ran.err
    assert list(tmp_path.glob("*.png*")) == []


def test_a_missing_extra_says_how_to_install_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for words in (("preview", "ink"), ("demo", "--dir", tmp_path / "demo")):
        ran = cli(*words)
        ran.failed_with(
            1, "diffusers, transformers, accelerate, PIL", 'pip install "lorakit[preview]"'
        )
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "big"), "is not a size"),
        (("--size", "64x64", "--size", "100x100"), "multiple of 16"),
        (("--steps", "0"), "steps"),
        (("--steps", "100000"), "steps"),
        (("--cfg", "1e300"), "CFG"),
        (("-p", "word " * 5000), "25000 characters"),
        (("-o", "."), "folder"),
        (("--cfg", "nan"), "CFG"),
        (("--seed", "-1"), "seeds"),
        (("--seed", "1-5000"), "5000 pictures"),
        (("--seed", "1-500", "-p", "a", "-p", "b", "-p", "c"), "1500 pictures"),
        (("--shift", "0"), "shift"),
        (("-o", "out.jpg"), ".png"),
        (("-o", "nowhere/out.png"), "nowhere"),
        (("--beside",), "--cover"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_settings_that_make_no_sense_are_refused_before_any_work(
    cli: Cli, words: tuple[str, ...], said: str
) -> None:
    # The catalog is empty: to get as far as the base would be another error.
    cli("preview", "ink", *words).failed_with(2, said)


def test_an_unknown_device_is_refused(ready: Cli, tmp_path: Path) -> None:
    words = ("--device", "toaster", "-p", "@ink", "-o", tmp_path / "a.png")
    ready("preview", *words).failed_with(2, "toaster")
    assert list(tmp_path.glob("*.png*")) == []


def test_missing_components_are_named(ready: Cli, demo: DemoModel, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ("-p", "@ink", "--components", empty, "-o", tmp_path / "a.png")
    ready("preview", *words).failed_with(1, str(empty))
    assert not (tmp_path / "a.png").exists()


def test_a_repository_that_is_not_here_offline_is_one_sentence(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    words = ("-p", "@ink", "--components", "somebody/of-no-such-name", "-o", tmp_path / "a.png")
    ready("preview", *words).failed_with(1, "somebody/of-no-such-name")


def test_sizes_are_read_in_the_usual_spellings() -> None:
    assert (
        parse_size("832x1216")
        == parse_size(" 832 × 1216 ")
        == parse_size("832X1216")
        == (832, 1216)
    )
    for text in ("832", "832x", "-1x5", "832x1216x3", "1e3x1e3"):
        with pytest.raises(BadUsage):
            parse_size(text)


def test_seeds_are_numbers_ranges_and_chance() -> None:
    assert parse_seeds("1, 2,5-8,2") == [1, 2, 5, 6, 7, 8]
    chosen = {parse_seeds("random")[0] for _ in range(8)}
    assert len(chosen) > 1
    assert all(0 <= seed < 2**32 for seed in chosen)
    for text in ("", "a", "1-", "8-5", "1;2", "-3"):
        with pytest.raises(BadUsage):
            parse_seeds(text)


def test_a_folder_is_no_picture_even_with_force(ready: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    for words in ((), ("--overwrite",)):
        ran = ready("preview", *QUICK, "-o", tmp_path / "a.png", *words)
        ran.failed_with(2, "is a folder", str(tmp_path / "a.png" / "out.png"))


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test may run as root, to whom every folder is open.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    cli("preview", "ink", "-o", tmp_path / "a.png").failed_with(1, str(tmp_path), "written")


def test_a_starting_image_is_looked_at_before_the_model_is_loaded(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*args: object, **kwargs: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("lorakit.preview.session.open_session", loaded)
    (tmp_path / "odd.png").write_bytes(b"no picture")
    words = (*QUICK, "-o", tmp_path / "a.png", "--steps", "20", "--image")
    ran = ready("preview", *words, tmp_path / "none.png")
    assert (ran.code, ran.out) == (1, "")
    assert "none.png' does not exist" in ran.err
    assert ready("preview", *words, tmp_path / "odd.png").code == 4


def test_a_picture_that_another_program_wrote_meanwhile_is_kept_and_ours_too(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorakit.preview import diagnosis

    render = diagnosis.render_or_explain
    target = tmp_path / "a.png"

    def slow(*args: Any, **kwargs: Any) -> Any:
        target.write_bytes(b"another's")
        return render(*args, **kwargs)

    monkeypatch.setattr(diagnosis, "render_or_explain", slow)
    ran = ready("preview", *QUICK, "-o", target, "-q")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'a-0001.png'}\n")
    assert "a-0001.png" in ran.err
    assert target.read_bytes() == b"another's"
    assert record_of(tmp_path / "a-0001.png")["stack"] == ""


def test_an_adapter_that_vanishes_before_it_is_read_is_one_sentence(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorakit.preview import devices

    choose = devices.choose_device
    path = Path(ready("inspect", "ink", "--json").document["adapters"][0]["path"])
    copy = tmp_path / "gone.safetensors"
    copy.write_bytes(path.read_bytes())

    def vanish(device: str) -> str:
        copy.unlink()
        return choose(device)

    monkeypatch.setattr(devices, "choose_device", vanish)
    ran = ready("preview", f'"{copy}"', *QUICK, "-o", tmp_path / "a.png")
    assert (ran.code, ran.out) == (4, "")
    assert "gone.safetensors" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "a.png").exists()


# Python 3.13.0 alone makes PyTorch say that.
@pytest.mark.filterwarnings("default:Guards may run slower")
def test_a_compiled_picture_says_so(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorakit.preview.pipeline import Renderer

    compiling = Renderer.compile
    monkeypatch.setattr(Renderer, "compile", lambda self: compiling(self, backend="eager"))
    words = ("preview", *QUICK, "-o")
    ran = ready(*words, tmp_path / "a.png", "--compile", "--json")
    assert ran.document["compiled"] is record_of(tmp_path / "a.png")["compiled"] is True
    assert ready(*words, tmp_path / "b.png", "--json").document["compiled"] is False
    again = ready("preview", "--from", tmp_path / "a.png", "-o", tmp_path / "c.png", "-q")
    assert "compiled yes then, no now" in again.err


def test_the_file_has_the_mode_that_the_person_wants(ready: Cli, tmp_path: Path) -> None:
    import os

    before = os.umask(0o027)
    try:
        assert ready("preview", *QUICK, "-o", tmp_path / "a.png").code == 0
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640
