"""Whole matrices come out as they went in, whatever form the checkpoint has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lorakit.errors import BadFile
from lorakit.formats.header import read_header
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.whole import weights_in
from tests.sketches.factories import LAYER, expected, named, saved, weights
from tests.tracing.files import PLAIN, QUANTISED, Form, write_checkpoint

MODEL = {name: matrix for name, matrix in weights().items() if matrix.ndim > 1}


@pytest.mark.parametrize("numbers", [*PLAIN, *QUANTISED])
@pytest.mark.parametrize("form", [Form(), Form(prefix="net."), Form(diffusers=True)])
def test_a_sketch_is_a_sample_of_them(numbers: str, form: Form, tmp_path: Path) -> None:
    form = Form(numbers, form.prefix, form.diffusers)
    path = write_checkpoint(tmp_path / "model.safetensors", MODEL, form)
    weight_of = weights_in(path)
    whole = {name: weight_of(name) for name in MODEL}
    for name, matrix in whole.items():
        assert matrix.shape == MODEL[name].shape
        assert matrix.dtype == torch.float32
    sampled = sketch_checkpoint(path).values
    assert sampled.keys() == whole.keys()
    for name, values in expected(whole).items():
        np.testing.assert_array_equal(sampled[name], values)


@pytest.mark.parametrize("numbers", [*PLAIN, *QUANTISED])
@pytest.mark.parametrize("form", [Form(), Form(diffusers=True)])
def test_some_rows_are_those_of_the_whole(numbers: str, form: Form, tmp_path: Path) -> None:
    form = Form(numbers, diffusers=form.diffusers)
    path = write_checkpoint(tmp_path / "model.safetensors", MODEL, form)
    whole = weights_in(path)
    some = weights_in(path, lambda rows, columns: [slice(1, 3), slice(rows - 1, rows)])
    for name in MODEL:
        assert torch.equal(some(name), whole(name)[[1, 2, -1]])


@pytest.mark.parametrize("numbers", QUANTISED)
def test_scales_are_applied(numbers: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.safetensors", MODEL, Form(numbers))
    found = weights_in(path)(LAYER)
    assert (found - MODEL[LAYER]).abs().max() < 0.05 * MODEL[LAYER].abs().max()


def test_shards_are_read_together(tmp_path: Path) -> None:
    names = list(MODEL)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        tensors = named({name: MODEL[name] for name in part})
        saved(tmp_path / f"model-0000{number}-of-00002.safetensors", tensors)
    weight_of = weights_in(tmp_path)
    for name in names:
        assert torch.equal(weight_of(name), MODEL[name])


def test_what_is_not_there_is_a_lookup_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors", named(MODEL))
    with pytest.raises(LookupError):
        weights_in(path)("blocks.9.mlp.layer1")


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    path = saved(tmp_path / "other.safetensors", {"weight": torch.zeros(2, 2)})
    with pytest.raises(BadFile):
        weights_in(path)


def test_a_file_that_shrinks_is_said_to_have_shrunk(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors", named(MODEL))
    whole = saved(tmp_path / "whole.safetensors", named(MODEL))
    weight_of = weights_in(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    last = max(MODEL, key=lambda name: read_header(whole).tensors[f"net.{name}.weight"].start)
    with pytest.raises(BadFile, match="cut short"):
        weight_of(last)
