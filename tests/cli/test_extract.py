from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.formats.ancestry import read_ancestry
from lorakit.formats.header import read_header
from lorakit.merging.extracting.extract_to_file import Wanted, extract_to_file
from lorakit.merging.provenance import read_made
from tests.cli.conftest import Cli
from tests.models import tiny_base


@pytest.fixture
def tuned(stocked: Cli, models: Path) -> Path:
    """The base of `models` with ink fused in, registered as Anima's own."""
    path = models / "tuned.safetensors"
    fused = lorakit.fuse(models / "base.safetensors", [(models / "ink.safetensors", 0.5)])
    save_file({key: tensor.clone() for key, tensor in fused.items()}, path)
    assert stocked("base", "add", path, "--as", "anima").code == 0
    return path


def test_extract_writes_an_adapter_that_does_what_the_checkpoint_does(
    stocked: Cli, tuned: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found.safetensors"
    ran = stocked("extract", "tuned", "--base", "own", "-o", out, "--dtype", "fp32")
    assert ran.code == 0, ran.err
    assert "self_attn" in ran.out
    assert "notice" in ran.out
    again = lorakit.fuse(models / "base.safetensors", [(out, 1.0)])
    wanted = lorakit.fuse(tuned, [])
    for key in wanted:
        assert torch.allclose(again[key], wanted[key], atol=1e-6)
    # Both checkpoints are its ingredients, and what a replay needs is in it.
    metadata = read_header(out).metadata
    assert [one.name for one in read_ancestry(metadata)] == ["tuned", "own"]
    made = read_made(metadata)
    assert made is not None
    assert (made["verb"], made["dtype"], made["seed"]) == ("extract", "fp32", 0)
    assert Wanted.recorded(made) == Wanted(dtype="fp32")


def test_extract_as_json_and_by_path(
    stocked: Cli, tuned: Path, models: Path, tmp_path: Path
) -> None:
    words = (tuned, "--base", models / "base.safetensors", "--rank", "2", "--layout", "kohya")
    document = stocked("extract", *words, "-o", tmp_path / "x.safetensors", "--json").document
    assert document["schema"] == "lorakit/extract/1"
    assert document["report"]["total"]["ranks"] == [2, 2]
    assert 0.5 < document["report"]["total"]["retained_energy"] < 1
    names = read_header(tmp_path / "x.safetensors").tensors
    assert all(name.startswith("lora_unet_") for name in names)
    dry = stocked("extract", *words, "-o", tmp_path / "y.safetensors", "--dry-run", "--json")
    assert dry.document["verdict"]["allowed"] is True
    assert not (tmp_path / "y.safetensors").exists()


def test_extract_says_what_it_has_no_names_for(
    stocked: Cli, tuned: Path, models: Path, tmp_path: Path
) -> None:
    path = models / "more.safetensors"
    held = {key: tensor.clone() for key, tensor in lorakit.fuse(tuned, []).items()}
    save_file({**held, "net.teacher.gate": torch.ones(2), "net.teacher.up": torch.ones(2)}, path)
    assert stocked("base", "add", path, "--as", "anima").code == 0
    words = ("extract", "more", "--base", "own", "--rank", "2", "-o", tmp_path / "x.safetensors")
    assert "2 tensors have names of no part of the model" in " ".join(stocked(*words).out.split())
    document = stocked(*words, "--overwrite", "--json").document
    assert document["report"]["unknown"] == ["net.teacher.gate", "net.teacher.up"]


def test_extract_refuses_what_denies_and_what_nobody_named(
    stocked: Cli, tuned: Path, models: Path, tmp_path: Path
) -> None:
    save_file(tiny_base(3, seed=9), models / "other.safetensors")
    out = tmp_path / "x.safetensors"
    stocked("extract", models / "other.safetensors", "--base", "own", "-o", out).failed_with(
        3, "other"
    )
    assert stocked("base", "add", models / "other.safetensors", "--as", "rdbt").code == 0
    stocked("extract", "tuned", "--base", "other", "-o", out).failed_with(3, "RDBT")
    stocked("extract", "other", "--base", "own", "-o", out).failed_with(3, "RDBT")
    assert list(tmp_path.glob("x*")) == []


def test_a_checkpoint_that_is_not_registered_is_said_to_be(stocked: Cli, tmp_path: Path) -> None:
    path, out = tmp_path / "found.safetensors", tmp_path / "lora.safetensors"
    save_file(tiny_base(seed=5), path, {"modelspec.license": "Apache-2.0"})
    ran = stocked("extract", path, "--base", "own", "-o", out)
    ran.failed_with(4, "not registered as a base", "lorakit base add")
    assert not out.exists()


def test_extract_says_what_is_wrong(
    stocked: Cli, tuned: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    stocked("extract", "own", "--base", "own", "-o", out).failed_with(2, "the same file")
    words = ("extract", "tuned", "--base", "own", "-o", out)
    stocked(*words, "--rank", "0").failed_with(2, "rank of 0")
    stocked(*words, "--rank", "2", "--energy", "0.9").failed_with(2, "not several")
    stocked(*words, "--energy", "1.5").failed_with(2, "1.5")
    stocked(*words, "--dtype", "int8").failed_with(2, "bf16, fp16 or fp32")
    stocked("extract", models / "ink.safetensors", "--base", "own", "-o", out).failed_with(
        4, "not an Anima checkpoint"
    )
    stocked("extract", "nothing", "--base", "own", "-o", out).failed_with(1, "nothing")
    copy = models / "copy.safetensors"
    save_file(tiny_base(3, prefix=""), copy)
    assert stocked("base", "add", copy, "--as", "anima").code == 0
    stocked("extract", "copy", "--base", "own", "-o", out).failed_with(1, "hold the same weights")
    assert list(tmp_path.glob("*x*.safetensors")) == []


def test_an_interrupted_extraction_leaves_nothing(
    stocked: Cli, tuned: Path, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def stop(done: int, total: int, what: str) -> None:
        if what.startswith("blocks.1"):
            raise KeyboardInterrupt

    with Catalog.open() as catalog:
        pair = choose_base(catalog, "tuned"), choose_base(catalog, "own")
        with pytest.raises(KeyboardInterrupt):
            extract_to_file(catalog, *pair, Wanted(), folder / "x.safetensors", on_progress=stop)
    assert list(folder.iterdir()) == []
