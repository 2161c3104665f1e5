"""A fingerprint says what its sketch says, to the bit, and nobody can make it say more."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from lorakit.errors import BadFile
from lorakit.formats.header import DTYPE_BITS
from lorakit.sketches.fingerprint import (
    Fingerprint,
    StatedTerms,
    from_bytes,
    is_fingerprint,
    read_fingerprint,
    to_bytes,
)
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.sketch import Sketch
from tests.sketches.factories import assert_same, named, saved, weights

CONTENT, PARENT = "ab" * 32, "01" * 32
NAMES = ["blocks.0.mlp.layer1", "blocks.13.self_attn.q_proj", "x_embedder.proj.1", "llm_adapter.embed"]  # fmt: skip
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SKETCHES = st.builds(
    Sketch,
    st.dictionaries(
        st.sampled_from(NAMES),
        st.lists(FLOATS, min_size=1, max_size=5).map(lambda values: np.array(values, np.float32)),
        min_size=1,
    ),
    st.sampled_from(sorted(DTYPE_BITS)),
    st.integers(0, 9999),
    st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
)
LINES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=20)
FINGERPRINTS = st.builds(
    Fingerprint,
    st.sampled_from(["base", "adapter"]),
    LINES,
    st.just(CONTENT),
    SKETCHES,
    st.none() | LINES,
    st.sampled_from([None, PARENT]),
    st.none() | st.builds(StatedTerms, LINES, LINES, LINES),
)
SKETCH = Sketch({"blocks.0.mlp.layer1": np.ones(4, np.float32)}, "BF16", 28)
MADE = Fingerprint("base", "mine", CONTENT, SKETCH)


@settings(max_examples=50)
@given(FINGERPRINTS)
def test_what_is_written_is_read(made: Fingerprint) -> None:
    data = to_bytes(made)
    assert data == to_bytes(made)
    found = from_bytes(data, "a file")
    assert replace(found, sketch=SKETCH) == replace(made, sketch=SKETCH)
    assert (found.sketch.dtype, found.sketch.blocks) == (made.sketch.dtype, made.sketch.blocks)
    assert found.sketch.undecided == made.sketch.undecided
    assert_same(found.sketch, made.sketch.values)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([1.0, -0.0, 2.0**127], "BF16"),
        ([1 + 2**-10, 2**-24], "F16"),
        ([1 + 2**-20], "F32"),
        ([1 + 2**-10, 1e30], "F32"),
    ],
)
def test_values_take_no_more_room_than_they_need(values: list[float], code: str) -> None:
    sketch = Sketch({"blocks.0.mlp.layer1": np.array(values, np.float32)}, "F32", 1)
    data = to_bytes(replace(MADE, sketch=sketch))
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert header["blocks.0.mlp.layer1"]["dtype"] == code
    found = from_bytes(data, "a file").sketch.values["blocks.0.mlp.layer1"]
    assert found.tobytes() == np.array(values, np.float32).tobytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_model_in_a_fingerprint(tmp_path: Path, dtype: torch.dtype) -> None:
    cast = {name: tensor.to(dtype) for name, tensor in weights().items()}
    sketch = sketch_checkpoint(saved(tmp_path / "a.safetensors", named(cast)))
    data = to_bytes(replace(MADE, sketch=sketch))
    # Two bytes a value, and another reader finds the same modules.
    assert len(data) < 2 * sum(map(len, sketch.values.values())) + 3000
    path = tmp_path / "b.safetensors"
    path.write_bytes(data)
    assert_same(read_fingerprint(path).sketch, sketch.values)
    if dtype == torch.float16:
        assert load(data).keys() == sketch.values.keys()


def test_a_name_from_anybody_does_not_steer_the_terminal() -> None:
    terms = StatedTerms("deny", "a\nb" + "x" * 9000, "\x1b[2J")
    found = from_bytes(to_bytes(replace(MADE, name="a\x1b[31m\u202e\n", terms=terms)), "a file")
    assert found.name == "a_[31m__"
    assert found.terms is not None
    assert found.terms.statement.isprintable()
    assert len(found.terms.statement) == 2000


def changed(data: bytes, **fields: str | None) -> bytes:
    """The same file with other metadata; None takes a field out."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    for name, value in fields.items():
        key = "lorakit." + name
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data[8 + length :]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"fingerprint": None}, "no fingerprint"),
        ({"fingerprint": "2"}, "does not know"),
        ({"scheme": "2"}, "does not know"),
        ({"scheme": None}, "does not know"),
        ({"kind": "fingerprint"}, "kind"),
        ({"kind": None}, "kind"),
        ({"content": "xyz"}, "content"),
        ({"content": None}, "content"),
        ({"parent": CONTENT.upper()}, "parent"),
        ({"blocks": "-1"}, "blocks"),
        ({"blocks": "99999"}, "blocks"),
        ({"blocks": "٣"}, "blocks"),
        ({"dtype": "Q4_K"}, "dtype"),
        ({"undecided": "["}, "undecided"),
        ({"undecided": "{}"}, "undecided"),
        ({"undecided": '["rm -rf"]'}, "undecided"),
    ],
)
def test_odd_metadata_is_refused_by_name(fields: dict[str, str | None], words: str) -> None:
    with pytest.raises(BadFile, match=rf"^a file .*{words}"):
        from_bytes(changed(to_bytes(MADE), **fields), "a file")


@pytest.mark.parametrize(
    "sketch",
    [
        Sketch({}, "F32", 1),
        Sketch({"nobody.knows": np.ones(4, np.float32)}, "F32", 1),
        Sketch({"text_encoder.norm": np.ones(4, np.float32)}, "F32", 1),
        Sketch({"blocks.0.mlp.layer1": np.ones((2, 2), np.float32)}, "F32", 1),
        Sketch({"blocks.0.mlp.layer1": np.ones(0, np.float32)}, "F32", 1),
        Sketch({"blocks.0.mlp.layer1": np.ones(1025, np.float32)}, "F32", 1),
        Sketch({"blocks.0.mlp.layer1": np.array([np.nan], np.float32)}, "F32", 1),
        Sketch({"blocks.0.mlp.layer1": np.array([np.inf], np.float32)}, "F32", 1),
    ],
    ids=["empty", "name", "text encoder", "matrix", "nothing", "long", "nan", "inf"],
)
def test_odd_values_are_refused(sketch: Sketch) -> None:
    with pytest.raises(BadFile, match=r"^a file"):
        from_bytes(to_bytes(replace(MADE, sketch=sketch)), "a file")


@given(st.data())
def test_damage_is_an_error_or_harmless(data: st.DataObject) -> None:
    whole = bytearray(to_bytes(MADE))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = from_bytes(cut, "a file")
    except BadFile:
        return
    assert all(np.isfinite(values).all() for values in found.sketch.values.values())
    assert found.name.isprintable()


def test_a_model_is_no_fingerprint(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.safetensors", named(weights()), {"modelspec.title": "x"})
    assert not is_fingerprint({"modelspec.title": "x"})
    with pytest.raises(BadFile, match="no fingerprint"):
        read_fingerprint(path)
    with pytest.raises(BadFile, match="nowhere"):
        read_fingerprint(tmp_path / "nowhere")
    with pytest.raises(BadFile, match="cannot be read"):
        read_fingerprint(tmp_path)
