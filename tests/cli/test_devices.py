"""`--device`: a CUDA device (pretended) is used where there is one, told in the header, and asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.formats.header import read_header
from lorakit.merging.provenance import read_made
from tests.cli.conftest import Cli
from tests.pretend_cuda import pretend_cuda

# The pretended device is that of one thread.
pytestmark = pytest.mark.usefixtures("one_core")

WORDS = {
    "merge": ("merge", "ink:0.8", "wash:0.5", "--rank", "6"),
    "resize": ("resize", "wash", "--energy", "0.8"),
    "extract": ("extract", "tuned", "--base", "own", "--rank", "2", "--dtype", "fp32"),
}


@pytest.fixture
def tuned(stocked: Cli, models: Path) -> None:
    path = models / "tuned.safetensors"
    fused = lorakit.fuse(models / "base.safetensors", [(models / "ink.safetensors", 0.5)])
    save_file({key: tensor.clone() for key, tensor in fused.items()}, path)
    assert stocked("base", "add", path, "--as", "anima").code == 0


def device_of(path: Path) -> object:
    made = read_made(read_header(path).metadata)
    assert made is not None
    return made["device"]


@pytest.mark.parametrize("verb", WORDS)
def test_cuda_is_taken_where_it_is_and_verified_there_or_elsewhere(
    stocked: Cli, tuned: None, tmp_path: Path, verb: str
) -> None:
    there, here = tmp_path / "there.safetensors", tmp_path / "here.safetensors"
    with pretend_cuda():
        assert stocked(*WORDS[verb], "-o", there).code == 0
        assert stocked(*WORDS[verb], "-o", here, "--device", "cpu").code == 0
        assert stocked("verify", there, "-q").lines == ["identical"]
    assert (device_of(there), device_of(here)) == ("cuda", "cpu")
    one, other = load_file(there), load_file(here)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    # What another device rounds otherwise is told apart from what differs.
    with safe_open(there, framework="pt") as file:
        metadata = file.metadata()
    nudged = {key: t * (1 + 1e-6) if "down" in key or "A" in key else t for key, t in one.items()}
    save_file(nudged, there, metadata)
    ran = stocked("verify", there)
    assert ran.code == 0, ran.out
    assert "within rounding" in ran.out
    assert "made on cuda, which is not here, and made again on cpu" in " ".join(ran.out.split())


def test_a_device_that_is_not_here_is_a_sentence(
    stocked: Cli, tuned: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    check = ("check", "ink", "wash")
    for words in (*((*words, "-o", tmp_path / "x.safetensors") for words in WORDS.values()), check):
        stocked(*words, "--device", "cuda").failed_with(1, "no device 'cuda' here", "--device")
        stocked(*words, "--device", "gpu").failed_with(2, "'gpu' is not a device")
        stocked(*words, "--device", "mps").failed_with(1, "float64")
    assert not (tmp_path / "x.safetensors").exists()


def test_check_says_the_same_on_cuda(stocked: Cli) -> None:
    words = ("check", "ink:0.8", "wash:0.5", "--base", "own", "--json")
    # The first time measures the base, and what is kept of that is rounded.
    stocked(*words)
    wanted = stocked(*words).document
    with pretend_cuda():
        found = stocked(*words).document
    assert found == wanted
