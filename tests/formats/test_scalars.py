"""Numbers kept as tensors: every dtype and shape that trainers store an alpha in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lorakit.errors import BadFile
from lorakit.formats.header import read_header
from lorakit.formats.scalars import read_scalars
from tests.factories import Payload, number, write_safetensors, zeros


def read(folder: Path, payload: Payload) -> float | None:
    """The value of `payload` in a file that holds something before and after it."""
    around = {"before": zeros("I8", [3]), "alpha": payload, "after": zeros("I8", [2])}
    header = read_header(write_safetensors(folder / "a.safetensors", around))
    return read_scalars(header, {"alpha": header.tensors["alpha"]}).get("alpha")


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "I64", "I32", "I8"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_number_is_read_from_every_dtype_and_shape(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    value = -24.0
    integral = dtype.startswith("I")
    payload = number(int(value) if integral else value, dtype, shape)
    assert read(tmp_path, payload) == value


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_infinity_is_read_as_it_stands(tmp_path: Path, dtype: str) -> None:
    assert read(tmp_path, number(math.inf, dtype)) == math.inf


def test_nan_is_one_value_however_often_it_is_read(tmp_path: Path) -> None:
    tensors = {"a": number(math.nan), "b": number(math.nan, "F16")}
    header = read_header(write_safetensors(tmp_path / "a.safetensors", tensors))
    assert len(set(read_scalars(header, header.tensors).values())) == 1


@pytest.mark.parametrize(
    "payload", [zeros("F32", [2]), zeros("F32", [0]), zeros("F8_E4M3", [1])], ids=str
)
def test_what_is_not_one_readable_number_is_left_out(tmp_path: Path, payload: Payload) -> None:
    assert read(tmp_path, payload) is None


def test_a_file_that_vanishes_or_shrinks_meanwhile_is_a_bad_file(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", {"alpha": number(1.0)})
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadFile, match="cut short"):
        read_scalars(header, header.tensors)
    path.unlink()
    with pytest.raises(BadFile):
        read_scalars(header, header.tensors)
