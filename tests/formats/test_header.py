"""The header reader takes what the format allows and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorakit.errors import BadFile
from lorakit.formats.header import read_header
from tests.factories import write_safetensors, zeros

ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


def write_raw(path: Path, header: str | bytes, data: bytes = b"data") -> Path:
    raw = header if isinstance(header, bytes) else header.encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadFile) as caught:
        read_header(path)
    assert caught.value.exit_code == 4
    # The message must reach any terminal.
    return caught.value.message.encode("utf-8").decode()


def entry(**changes: Any) -> str:
    fields = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | changes
    return json.dumps({"a": fields})


BAD_HEADERS = {
    "empty": "",
    "only a brace": "{",
    "an array": "[]",
    "white space before the brace": " {}",
    "a byte order mark": "\ufeff{}",
    "something after the object": f'{{"a":{ENTRY}}}x',
    "a NUL as padding": f'{{"a":{ENTRY}}}\0',
    "a name twice": f'{{"a":{ENTRY},"a":{ENTRY}}}',
    "metadata twice": f'{{"__metadata__":{{}},"__metadata__":{{}},"a":{ENTRY}}}',
    "a metadata key twice": f'{{"__metadata__":{{"k":"1","k":"2"}},"a":{ENTRY}}}',
    "a field twice": '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "a missing field": '{"a":{"dtype":"F32","shape":[1]}}',
    "a field too many": entry(stride=[1]),
    "an entry that is a list": '{"a":["F32",[1],[0,4]]}',
    "an entry that is null": '{"a":null}',
    "metadata that is a list": f'{{"__metadata__":[],"a":{ENTRY}}}',
    "a number in the metadata": f'{{"__metadata__":{{"k":1}},"a":{ENTRY}}}',
    "null in the metadata": f'{{"__metadata__":{{"k":null}},"a":{ENTRY}}}',
    "an unknown dtype": entry(dtype="F128"),
    "a dtype that is no text": entry(dtype=["F32"]),
    "a shape that is no list": entry(shape=1),
    "True as a dimension": entry(shape=[True]),
    "a float as a dimension": entry(shape=[1.0]),
    "an exponent as a dimension": '{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}',
    "a negative dimension": entry(shape=[-1]),
    "minus nought": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}',
    "a dimension of 65 bits": entry(shape=[0, 2**64], data_offsets=[0, 0]),
    "dimensions that overflow": entry(shape=[2**63, 4], data_offsets=[0, 4]),
    "dimensions that overflow before a zero": entry(shape=[2**63, 4, 0], data_offsets=[0, 0]),
    "an element count whose bits overflow": entry(shape=[2**60], data_offsets=[0, 4]),
    "a number of ten thousand digits": f'{{"a":{{"dtype":"F32","shape":[1{"0" * 10_000}]}}}}',
    "a million large dimensions": entry(shape=[2**63] * 1_000_000),
    "float offsets": entry(data_offsets=[0, 4.0]),
    "negative offsets": entry(data_offsets=[-4, 0]),
    "offsets backwards": entry(data_offsets=[4, 0]),
    "three offsets": entry(data_offsets=[0, 4, 4]),
    "offsets of another size": entry(data_offsets=[0, 3]),
    "offsets past the end": entry(shape=[2], data_offsets=[0, 8]),
    "a gap before the first tensor": entry(shape=[0], data_offsets=[4, 4]),
    "bytes after the last tensor": entry(shape=[0], data_offsets=[0, 0]),
    "half a byte": entry(dtype="F4", shape=[7], data_offsets=[0, 4]),
    "NaN": entry(shape=[float("nan")]),
    "Infinity": entry(shape=[float("inf")]),
    "a NaN in the metadata": f'{{"__metadata__":{{"k":NaN}},"a":{ENTRY}}}',
    "half of a surrogate pair in a name": f'{{"\\ud800":{ENTRY}}}',
    "half of a surrogate pair in the metadata": f'{{"__metadata__":{{"k":"\\uDfff"}},"a":{ENTRY}}}',
    "a control character": f'{{"\x01":{ENTRY}}}',
    "bytes that are not UTF-8": b'{"\xff":' + ENTRY.encode() + b"}",
    "an encoded surrogate": b'{"\xed\xa0\x80":' + ENTRY.encode() + b"}",
    "deep nesting": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "deep arrays": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_malformed_header_is_one_clear_error(path: Path, header: str | bytes) -> None:
    message = refusal(write_raw(path, header))
    assert str(path) in message
    assert len(message) < 1000


@pytest.mark.parametrize("name", ["a", "x" * 100_000])
def test_an_error_names_the_tensor_but_stays_short(path: Path, name: str) -> None:
    bad = {"dtype": "?", "shape": [], "data_offsets": [0, 4]}
    message = refusal(write_raw(path, json.dumps({name: bad})))
    assert repr(name)[:20] in message
    assert len(message) < 1000


def test_overlapping_tensors_are_both_named(path: Path) -> None:
    fields = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
    header = json.dumps({"first": fields, "second": fields | {"data_offsets": [3, 7]}})
    message = refusal(write_raw(path, header, bytes(7)))
    assert "first" in message
    assert "second" in message


def test_a_pair_of_surrogate_escapes_is_one_character(path: Path) -> None:
    header = read_header(write_raw(path, f'{{"\\ud83d\\ude00":{ENTRY}}}'))
    assert list(header.tensors) == ["\N{GRINNING FACE}"]


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001, 1000])
def test_a_header_length_beyond_the_file_is_refused(path: Path, length: int) -> None:
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refusal(path)


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    write_safetensors(path, {"a": zeros("F32", [2]), "b": zeros("I8", [3])}, {"k": "v"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)
    path.write_bytes(whole + b"\0")
    refusal(path)


def test_an_absent_file_a_folder_and_an_impossible_name_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "absent.safetensors")
    refusal(tmp_path)
    refusal(tmp_path / ("x" * 5000))
    with pytest.raises(BadFile):
        read_header("with\0nul.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    refusal(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device files on this system")
def test_a_device_is_refused_at_once() -> None:
    refusal(Path("/dev/zero"))


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="permissions do not bind this user",
)
def test_a_file_without_read_permission_is_refused(path: Path) -> None:
    write_safetensors(path, {})
    path.chmod(0)
    refusal(path)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")


def _pickle(protocol: int) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(pickle.dumps({"a": list(range(9))}, protocol)), None)[1]


@pytest.mark.parametrize("write", [_zip, *(_pickle(protocol) for protocol in (2, 3, 4, 5))])
def test_a_pickle_is_known_by_its_content(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    assert "pickle" in refusal(path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".PT"])
def test_a_pickle_is_known_by_its_suffix_and_the_hint_converts_it(path: Path, suffix: str) -> None:
    path = path.with_suffix(suffix)
    path.write_bytes(b"(lp0\n.")
    with pytest.raises(BadFile, match="pickle") as caught:
        read_header(path)
    assert "weights_only=True" in (caught.value.hint or "")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_header_whose_length_looks_like_a_pickle_is_read(path: Path, protocol: int) -> None:
    # 0x0280 is 640: the length bytes of an ordinary header are then those of pickle's first opcode.
    header = "{}".ljust(0x80 + 0x100 * protocol)
    assert read_header(write_raw(path, header, b"")).tensors == {}
