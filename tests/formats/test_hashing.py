"""The two hashes are those of hashlib over the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import lorakit
from lorakit.errors import BadFile
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from tests.factories import Payload, number, write_safetensors, zeros


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_both_hashes_equal_hashlibs(tmp_path: Path, size: int) -> None:
    payload: Payload = ("I8", (size,), bytes(i % 251 for i in range(size)))
    path = write_safetensors(tmp_path / "a.safetensors", {"a": payload})
    raw = path.read_bytes()
    hashes = lorakit.inspect(path).hashes
    assert hashes is not None
    assert hashes.file_sha256 == hashlib.sha256(raw).hexdigest()
    assert hashes.tensor_sha256 == hashlib.sha256(raw[len(raw) - size :]).hexdigest()


def test_an_edit_of_the_metadata_leaves_the_tensor_hash(tmp_path: Path) -> None:
    tensors = {"a": number(1.5), "b": zeros("F32", [9])}
    paths = [
        write_safetensors(tmp_path / f"{name}.safetensors", tensors, {"title": name})
        for name in ("first", "second")
    ]
    first, second = (hash_file(path, read_header(path).data_offset) for path in paths)
    assert first.tensor_sha256 == second.tensor_sha256
    assert first.file_sha256 != second.file_sha256


def test_hashing_is_left_out_on_request(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", {})
    assert lorakit.inspect(path, hashes=False).hashes is None


def test_a_file_that_has_gone_is_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        hash_file(tmp_path / "gone.safetensors", 8)
