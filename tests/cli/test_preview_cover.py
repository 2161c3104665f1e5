"""`lorakit preview NAME --cover`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lorakit.preview.demo_model import DemoModel
from tests.cli.conftest import Cli
from tests.cli.test_preview import record_of

COVER = ("--cover", "--size", "64x64", "--steps", "2", "--device", "cpu")


@pytest.fixture
def style(ready: Cli, demo: DemoModel, tmp_path: Path) -> Path:
    """An adapter of the catalog in a folder of its own, with a strength in its header."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    source = demo.checkpoint.parent / "loras" / "neon.safetensors"
    with safe_open(source, "pt") as file:
        metadata = {**file.metadata(), "modelspec.lora_default_weight": "0.65"}
    path = tmp_path / "folder" / "glow.safetensors"
    path.parent.mkdir()
    tensors = load_file(source)
    # Other tensors, or it would be neon under another header.
    key = next(iter(tensors))
    save_file({**tensors, key: tensors[key] * 1.5}, path, metadata)
    assert ready("add", path).code == 0
    return path


def test_a_cover_is_rendered_at_the_recommended_strength_and_listed(
    ready: Cli, style: Path, home: Path
) -> None:
    ran = ready("preview", "glow", *COVER, "--json")
    cover = ran.document["cover"]
    path = Path(cover["path"])
    assert path.parent == home / "covers"
    assert (cover["strength"], cover["beside"]) == (0.65, None)
    assert "lora_default_weight" in cover["strength_source"]
    record = record_of(path)
    assert record["stack"] == "glow:0.65"
    assert isinstance(record["settings"], dict)
    assert record["settings"]["prompt"].startswith("@neon, ")
    adapters = {a["name"]: a for a in ready("ls", "--json").document["adapters"]}
    assert adapters["glow"]["cover"] == str(path)
    assert adapters["ink"]["cover"] is None
    (report,) = ready("inspect", style, "--json").document["adapters"]
    assert report["cover"] == str(path)
    assert str(path) in "".join(ready("inspect", "glow").out.split())
    # Nothing is put beside the file unasked.
    assert [found.name for found in style.parent.iterdir()] == [style.name]


def test_a_strength_that_is_given_is_taken_and_a_cover_is_not_replaced_unasked(
    ready: Cli, style: Path
) -> None:
    first = ready("preview", "glow:0.3", *COVER, "--json").document["cover"]
    assert (first["strength"], first["strength_source"]) == (0.3, "as given")
    before = Path(first["path"]).read_bytes()
    ready("preview", "glow", *COVER).failed_with(2, "glow", "--overwrite")
    assert Path(first["path"]).read_bytes() == before
    assert ready("preview", "glow", *COVER, "--overwrite").code == 0
    assert Path(first["path"]).read_bytes() != before
    # The demo's adapters state none.
    ink = ready("preview", "ink", *COVER, "--json").document["cover"]
    assert ink["strength"] == 1.0
    assert "recommends none" in ink["strength_source"]


def test_beside_the_file_only_when_asked_and_nothing_is_there(ready: Cli, style: Path) -> None:
    beside = style.with_name("glow.preview.png")
    ran = ready("preview", "glow", *COVER, "--beside", "--json")
    assert ran.document["cover"]["beside"] == str(beside)
    assert record_of(beside)["stack"] == "glow:0.65"
    beside.write_bytes(b"the person's own")
    words = (*COVER, "--beside", "--overwrite")
    ready("preview", "glow", *words).failed_with(2, "glow.preview.png", "never overwritten")
    assert beside.read_bytes() == b"the person's own"


def test_a_cover_stays_when_the_file_moves_and_its_header_is_edited(
    ready: Cli, style: Path, tmp_path: Path
) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = ready("preview", "glow", *COVER, "--json").document["cover"]["path"]
    with safe_open(style, "pt") as file:
        metadata = {**file.metadata(), "modelspec.title": "edited"}
    moved = tmp_path / "moved"
    moved.mkdir()
    save_file(load_file(style), moved / "glow.safetensors", metadata)
    shutil.rmtree(style.parent)
    (report,) = ready("inspect", moved / "glow.safetensors", "--json").document["adapters"]
    assert report["cover"] == path


def test_a_cover_shows_one_catalogued_adapter_in_one_picture(ready: Cli, tmp_path: Path) -> None:
    ready("preview", "ink wash", *COVER).failed_with(2, "one adapter")
    ready("preview", "ink", *COVER, "--seed", "1-2").failed_with(2, "one picture")
    ready("preview", "ink", *COVER, "-o", tmp_path / "a.png").failed_with(2, "--output")
    ready("preview", "nothing", *COVER).failed_with(1, "nothing")


def test_a_dry_run_renders_no_cover(ready: Cli, style: Path, home: Path) -> None:
    ran = ready("preview", "glow", *COVER, "--dry-run", "--json")
    assert ran.document["files"] == [ran.document["cover"]["path"]]
    assert ran.document["stack"] == "glow:0.65"
    assert not (home / "covers").exists()


def test_what_you_set_goes_before_what_the_file_says(ready: Cli, style: Path) -> None:
    assert ready("note", "glow", "--strength", "0.4").code == 0
    cover = ready("preview", "glow", *COVER, "--dry-run", "--json").document["cover"]
    assert (cover["strength"], cover["strength_source"]) == (0.4, "You set 0.4")
