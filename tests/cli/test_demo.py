"""The demo, as a person runs it."""

from __future__ import annotations

import html
import re
import struct
from pathlib import Path

import pytest

from lorakit.cli.demo import MARKER, prepare
from lorakit.errors import BadUsage, LorakitError
from tests.cli.running import Ran, process

PICTURES = {"plain.png": (128, 128), "stack.png": (128, 128), "sheet.png": (292, 178)}
SHOWN = ("pictures/sheet.png", "grid/sheet.png", "grid/index.html", "demo.html")
STEPS = (
    "base add",
    "add loras",
    "ls",
    "inspect ink",
    "inspect mosaic",
    "stack",
    "preview",
    "grid",
    "export",
)


def size_of(picture: Path) -> tuple[int, int]:
    start = picture.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", start[16:24])
    return width, height


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def demo(place: Path) -> Ran:
    """The demo, run over what another has left, with settings that would spoil its page."""
    (place / "home").mkdir()
    (place / "home" / "mine.txt").write_text("kept")
    env = {"FORCE_COLOR": "1", "COLUMNS": "200", "LORAKIT_DEBUG": "1"}
    prepare(place / "demo")
    (place / "demo" / "grid").mkdir()
    for left in (
        "home/catalog.db",
        "loras/old.safetensors",
        "pictures/plain.png",
        "grid/grid.json",
    ):
        (place / "demo" / left).write_text("of an earlier demo")
    return process(place / "home", "demo", "--dir", place / "demo", cwd=place, env=env)


@pytest.mark.slow
def test_it_shows_every_step_and_says_what_the_model_is(demo: Ran, place: Path) -> None:
    assert (demo.code, demo.err) == (0, "")
    assert "trained on drawn shapes" in demo.out
    for step in STEPS:
        assert f"$ lorakit {step}" in demo.out
    assert "Sharing merges using this" in demo.out
    assert "(exit code 3)" in demo.out
    assert "\x1b" not in demo.out
    for name in SHOWN:
        assert f"  {place / 'demo' / name}" in demo.out
    # Commands are to be copied, and paths are as long as they are.
    commands = ("$ ", "  lorakit ")
    printed = [o for o in demo.lines if not o.startswith(commands) and str(place) not in o]
    assert max(map(len, printed)) <= 80


@pytest.mark.slow
def test_it_leaves_pictures_and_no_merged_file(demo: Ran, place: Path) -> None:
    folder = place / "demo"
    for name, size in PICTURES.items():
        assert size_of(folder / "pictures" / name) == size
    plain, stack = (folder / "pictures" / name for name in ("plain.png", "stack.png"))
    assert plain.read_bytes() != stack.read_bytes()
    weights = {
        path.name for path in folder.rglob("*.safetensors") if "components" not in path.parts
    }
    assert weights == {
        "demo-rdbt.safetensors",
        "demo-rdbt-lora.safetensors",
        "ink.safetensors",
        "wash.safetensors",
        "neon.safetensors",
        "mosaic.safetensors",
    }
    assert list(folder.rglob("*.part")) == list(folder.rglob("*NOTICE*")) == []
    # Nothing beside the folder, and the person's own catalog as it was.
    assert {path.name for path in place.iterdir()} == {"demo", "home"}
    assert [path.name for path in (place / "home").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_its_page_stands_alone(demo: Ran, place: Path) -> None:
    page = (place / "demo" / "demo.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page
    assert "<script" not in page
    assert "\x1b" not in page
    text = html.unescape(page)
    for line in demo.lines:
        if line.startswith("$ "):
            assert line in text


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    for name in ("thesis.txt", "models"):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).write_text("years of work")
        with pytest.raises(BadUsage, match="no demo made"):
            prepare(folder)
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [
            (name, "years of work")
        ]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "demo"):
        with pytest.raises(LorakitError, match="cannot be made"):
            prepare(folder)


def test_only_what_a_demo_made_is_cleared(tmp_path: Path) -> None:
    prepare(tmp_path / "demo")
    (tmp_path / "demo" / "loras" / "old.safetensors").write_bytes(b"")
    (tmp_path / "demo" / "notes.txt").write_text("kept")
    prepare(tmp_path / "demo")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        MARKER,
        "home",
        "models",
        "loras",
        "pictures",
        "notes.txt",
    }
    assert list((tmp_path / "demo" / "loras").iterdir()) == []
