from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from lorakit.cli.preview import parse_size
from lorakit.errors import BadUsage
from lorakit.preview.demo_adapters import write_demo_adapters
from lorakit.preview.demo_model import DemoModel, write_demo_model
from tests.cli.conftest import Cli

QUICK = ("--size", "64x64", "--steps", "2", "--seed", "7", "--device", "cpu", "-p", "@ink, a sea")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoModel:
    model = write_demo_model(tmp_path_factory.mktemp("demo"))
    loras = model.checkpoint.parent / "loras"
    loras.mkdir()
    write_demo_adapters(model.checkpoint, loras)
    return model


@pytest.fixture
def ready(cli: Cli, demo: DemoModel) -> Cli:
    """The command line with the demo's model and adapters in its catalog."""
    words = ("--name", "demo", "--as", "rdbt", "--components", demo.components)
    assert cli("base", "add", demo.checkpoint, *words).code == 0
    assert cli("add", demo.checkpoint.parent / "loras").code == 0
    return cli


def test_a_picture_is_rendered_and_carries_what_made_it(ready: Cli, tmp_path: Path) -> None:
    from PIL import Image

    target = tmp_path / "[red] out.png"
    ran = ready("preview", "ink:0.8 wash:0.5", *QUICK, "-o", target)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{target}  (cpu)\n"
    with Image.open(target) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))
        record = json.loads(image.info["lorakit"])
    assert [entry["name"] for entry in record["entries"]] == ["ink", "wash"]
    plain = ready("preview", *QUICK, "-o", tmp_path / "plain.png", "-q")
    assert plain.out == f"{tmp_path / 'plain.png'}\n"
    assert (tmp_path / "plain.png").read_bytes() != target.read_bytes()


def test_json_says_what_was_rendered(ready: Cli, tmp_path: Path) -> None:
    ran = ready("preview", "ink:0.5", *QUICK, "-o", tmp_path / "a.png", "--json")
    assert ran.document["schema"] == "lorakit/preview/1"
    assert ran.document["device"] == "cpu"
    assert ran.document["settings"]["seed"] == 7


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
    ready("preview", *QUICK, "-o", target).failed_with(2, "a.png", "--force")
    assert target.read_bytes() == b"kept"
    assert ready("preview", *QUICK, "-o", target, "--force").code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"


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
        (("--size", "100x100"), "multiple of 16"),
        (("--steps", "0"), "steps"),
        (("--cfg", "nan"), "CFG"),
        (("--seed", "-1"), "Seed"),
        (("-o", "out.jpg"), ".png"),
        (("-o", "nowhere/out.png"), "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_settings_that_make_no_sense_are_refused_before_any_work(
    cli: Cli, words: tuple[str, ...], said: str
) -> None:
    # The catalog is empty: to get as far as the base would be another error.
    cli("preview", "ink", *words).failed_with(2, said)


def test_an_unknown_device_is_refused(ready: Cli, tmp_path: Path) -> None:
    words = ("--device", "toaster", "-o", tmp_path / "a.png")
    ready("preview", *words).failed_with(2, "toaster")
    assert list(tmp_path.glob("*.png*")) == []


def test_missing_components_are_named(ready: Cli, demo: DemoModel, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ("--components", empty, "-o", tmp_path / "a.png")
    ready("preview", *QUICK, *words).failed_with(1, str(empty))
    assert not (tmp_path / "a.png").exists()


def test_a_repository_that_is_not_here_offline_is_one_sentence(
    ready: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    words = ("--components", "somebody/of-no-such-name", "-o", tmp_path / "a.png")
    ready("preview", *QUICK, *words).failed_with(1, "somebody/of-no-such-name")


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
