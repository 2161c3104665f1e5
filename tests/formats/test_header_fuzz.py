"""The header reader beside the safetensors library, on files of every degree of brokenness."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from lorakit.errors import BadFile
from lorakit.formats.header import DTYPE_BITS, Header, read_header
from tests.factories import write_safetensors

NUMPY = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "U16": "u2", "I8": "i1", "BOOL": "?"}
# The library's stub gives it no types.
deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
FUZZ = settings(deadline=None, max_examples=200)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
metadata = st.none() | st.dictionaries(texts, texts, max_size=4)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, tuple[int, ...], bytes]:
    dtype, shape = draw(st.sampled_from(sorted(DTYPE_BITS))), draw(shapes)
    if prod(shape) * DTYPE_BITS[dtype] % 8:
        shape = (*shape, 8)
    size = prod(shape) * DTYPE_BITS[dtype] // 8
    return dtype, shape, draw(st.binary(min_size=size, max_size=size))


tensors = st.dictionaries(texts.filter(lambda name: name != "__metadata__"), payloads(), max_size=5)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file.safetensors"


def contents(header: Header, raw: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """What lorakit says of a file, in the words of `reference`."""
    start = header.data_offset
    return {
        name: (info.dtype, list(info.shape), raw[start + info.start : start + info.end])
        for name, info in header.tensors.items()
    }


def reference(raw: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """What the safetensors library says. Raises `SafetensorError`."""
    return {
        name: (found["dtype"], found["shape"], bytes(found["data"]))
        for name, found in deserialize(raw)
    }


def agrees(path: Path, raw: bytes) -> bool:
    """Whether `raw` is refused with BadFile, or is read as the library reads it."""
    path.write_bytes(raw)
    try:
        header = read_header(path)
    except BadFile as error:
        return error.exit_code == 4 and bool(error.message.encode())
    return contents(header, raw) == reference(raw)


@FUZZ
@given(tensors, metadata)
def test_what_the_factory_writes_both_readers_read_alike(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None
) -> None:
    write_safetensors(path, tensors, metadata)
    header, raw = read_header(path), path.read_bytes()
    expected = {name: (dtype, list(shape), data) for name, (dtype, shape, data) in tensors.items()}
    assert contents(header, raw) == reference(raw) == expected
    assert header.metadata == (metadata or {})


@FUZZ
@given(tensors, metadata)
def test_what_the_library_writes_is_read_back_whole(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None
) -> None:
    kept = {name: found for name, found in tensors.items() if found[0] in NUMPY}
    arrays = {
        name: numpy.frombuffer(data, NUMPY[dtype]).reshape(shape)
        for name, (dtype, shape, data) in kept.items()
    }
    # Without tensors and with an empty metadata object, release 0.8 writes JSON it cannot read itself.
    raw = safetensors.numpy.save(arrays, metadata or None)
    path.write_bytes(raw)
    header = read_header(path)
    assert contents(header, raw) == {n: (d, list(s), data) for n, (d, s, data) in kept.items()}
    assert header.metadata == (metadata or {})


@FUZZ
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_read_alike(path: Path, raw: bytes) -> None:
    assert agrees(path, raw)


@FUZZ
@given(st.binary(max_size=100), st.binary(max_size=20))
def test_an_arbitrary_header_is_refused_or_read_alike(
    path: Path, header: bytes, data: bytes
) -> None:
    assert agrees(path, struct.pack("<Q", len(header) + 1) + b"{" + header + data)


@FUZZ
@given(tensors, metadata, st.data())
def test_flipped_bytes_are_refused_or_read_alike(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None, data: st.DataObject
) -> None:
    raw = bytearray(write_safetensors(path, tensors, metadata).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert agrees(path, bytes(raw))


numbers = st.one_of(
    st.integers(-2, 9),
    st.sampled_from([2**31, 2**32, 2**53, 2**61, 2**63, 2**64 - 1, 2**64, 10**30, 10**5000]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
)
odd_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "F99", ""]) | numbers,
        "shape": st.lists(numbers, max_size=3) | st.lists(st.integers(0, 2), max_size=2) | numbers,
        "data_offsets": st.lists(st.integers(0, 8), min_size=2, max_size=2)
        | st.lists(numbers, max_size=3),
    },
    optional={"extra": numbers},
)
odd_headers = st.dictionaries(
    st.text(st.characters(), max_size=3) | st.just("__metadata__"),
    odd_entries | st.dictionaries(texts, texts | numbers, max_size=2) | numbers,
    max_size=3,
)


def dump(document: Any) -> str:
    """JSON of numbers of any length, which the interpreter's digit limit would refuse to print."""
    if isinstance(document, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dump(v)}" for k, v in document.items()) + "}"
    if isinstance(document, list):
        return "[" + ",".join(map(dump, document)) + "]"
    return "1" + "0" * 5000 if document == 10**5000 else json.dumps(document)


@settings(deadline=None, max_examples=500)
@given(odd_headers, st.binary(max_size=9))
def test_odd_entries_are_refused_or_read_alike(
    path: Path, document: dict[str, Any], data: bytes
) -> None:
    raw = dump(document).encode()
    assert agrees(path, struct.pack("<Q", len(raw)) + raw + data)
