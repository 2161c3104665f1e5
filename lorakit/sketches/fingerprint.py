"""A sketch as a small file, so that an author can publish what tells a model instead of its weights.

It is a safetensors file: a tensor (n,) for each module, by canonical name, in the smallest of BF16, F16 and
F32 that holds its values exactly, and metadata:

- `lorakit.fingerprint`: "1", the version of this layout; `lorakit.scheme`: the positions' scheme.
- `lorakit.kind`: "base" or "adapter"; `lorakit.name`; `lorakit.content`: the SHA-256 of the model's tensors.
- `lorakit.model`, `lorakit.parent`: a key of the table of known models, and the content of the model that
  this one was made from, where they are known.
- `lorakit.blocks`, `lorakit.dtype`: as in `Sketch`; `lorakit.undecided`: a JSON list, where not empty.
- `lorakit.terms.share_merges`, `.statement`, `.source`: the terms as the author states them, if at all.
- `lorakit.version`: what wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from lorakit import __version__
from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.formats.header import DTYPE_BITS, LENGTH_BYTES, Header, TensorInfo, parse_header
from lorakit.formats.writing import encode_header
from lorakit.sketches.decoding import decode
from lorakit.sketches.fields import Fields
from lorakit.sketches.positions import MOST_VALUES, SCHEME
from lorakit.sketches.sketch import Sketch
from lorakit.sketches.weights import is_norm

Kind = Literal["base", "adapter"]

LAYOUT = "1"
MARK = "lorakit.fingerprint"
_DTYPES = ("BF16", "F16", "F32")
# A model of 52 blocks has under 3 MB of float32 values.
_MOST_BYTES = 64_000_000


@dataclass(frozen=True)
class StatedTerms:
    """What an author says of the model: `share_merges` as in the table of licences, why, and where."""

    share_merges: str
    statement: str
    source: str


@dataclass(frozen=True)
class Fingerprint:
    """A sketch and what it is of. `content` and `parent` are hashes of tensors (lower-case hex)."""

    kind: Kind
    name: str
    content: str
    sketch: Sketch
    model: str | None = None
    parent: str | None = None
    terms: StatedTerms | None = None


def is_fingerprint(metadata: Mapping[str, str]) -> bool:
    """Whether a safetensors file with this metadata is a fingerprint and no model."""
    return MARK in metadata


def to_bytes(fingerprint: Fingerprint) -> bytes:
    """The file; the same fingerprint gives the same bytes."""
    packed = {name: _packed(values) for name, values in fingerprint.sketch.values.items()}
    order = sorted(packed, key=lambda name: (-DTYPE_BITS[packed[name][0]], name))
    described = [(name, packed[name][0], fingerprint.sketch.values[name].shape) for name in order]
    header = encode_header(described, _metadata(fingerprint))
    return b"".join((header, *(packed[name][1] for name in order)))


def from_bytes(data: bytes, label: str) -> Fingerprint:
    """The fingerprint in `data`, which may come from anybody; `label` names it in errors.

    Raises `BadFile` for what is none, is damaged, or was written by a newer lorakit.
    """
    header = _header(data, label)
    fields = Fields(label, header.metadata)
    values = {name: _values(label, info, data, header) for name, info in header.tensors.items()}
    if not values:
        raise BadFile(f"{label} is a fingerprint without a single value.")
    sketch = Sketch(
        values,
        fields.one_of("dtype", DTYPE_BITS),
        fields.number("blocks"),
        fields.names("undecided"),
    )
    content = fields.content("content")
    if content is None:
        raise BadFile(f"{label} does not say which content it is the fingerprint of.")
    kind: Kind = "base" if fields.one_of("kind", get_args(Kind)) == "base" else "adapter"
    return Fingerprint(
        kind,
        fields.text("name") or content[:12],
        content,
        sketch,
        fields.text("model"),
        fields.content("parent"),
        _terms(fields),
    )


def read_fingerprint(path: Path) -> Fingerprint:
    """The fingerprint in the file at `path`. Raises `BadFile`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    return from_bytes(data, str(path))


def _packed(values: np.ndarray) -> tuple[str, bytes]:
    """Dtype and bytes of float32 values, in the smallest dtype that loses nothing."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    if not (bits & 0xFFFF).any():
        return "BF16", (bits >> 16).astype("<u2").tobytes()
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    if np.array_equal(half.astype("<f4").view("<u4"), bits):
        return "F16", half.tobytes()
    return "F32", bits.tobytes()


def _metadata(fingerprint: Fingerprint) -> dict[str, str]:
    sketch, terms = fingerprint.sketch, fingerprint.terms
    fields = {
        "kind": fingerprint.kind,
        "name": fingerprint.name,
        "content": fingerprint.content,
        "model": fingerprint.model,
        "parent": fingerprint.parent,
        "scheme": str(SCHEME),
        "blocks": str(sketch.blocks),
        "dtype": sketch.dtype,
        "undecided": json.dumps(sketch.undecided) if sketch.undecided else None,
        "version": __version__,
    }
    if terms is not None:
        fields |= {
            f"terms.{field.name}": getattr(terms, field.name) for field in dataclass_fields(terms)
        }
    stated = {f"lorakit.{name}": value for name, value in fields.items() if value is not None}
    return {MARK: LAYOUT, **stated}


def _header(data: bytes, label: str) -> Header:
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    whole = len(data) <= _MOST_BYTES and LENGTH_BYTES + length <= len(data)
    if len(data) < LENGTH_BYTES or not whole:
        raise BadFile(f"{label} is no fingerprint: its size is not that of one.")
    header = parse_header(Path(label), data[LENGTH_BYTES : LENGTH_BYTES + length], len(data))
    layout = header.metadata.get(MARK)
    if layout is None:
        raise BadFile(
            f"{label} is no fingerprint.",
            hint="`lorakit trace fingerprint` writes one from a model.",
        )
    if (layout, header.metadata.get("lorakit.scheme")) != (LAYOUT, str(SCHEME)):
        raise BadFile(
            f"{label} is a fingerprint of a kind that this version of lorakit does not know.",
            hint="Update lorakit, or ask its author for another.",
        )
    return header


def _values(label: str, info: TensorInfo, data: bytes, header: Header) -> np.ndarray:
    one_line = len(info.shape) == 1 and 1 <= info.shape[0] <= MOST_VALUES
    if not (_is_matrix(info.name) and one_line and info.dtype in _DTYPES):
        raise BadFile(f"{label} is no fingerprint: {info.name[:100]!r} is no sketch of a matrix.")
    start = header.data_offset + info.start
    raw = np.frombuffer(data, np.uint8, info.end - info.start, start)
    values = decode(raw, info.dtype)
    if not np.isfinite(values).all():
        raise BadFile(f"{label} is damaged: {info.name[:100]!r} holds values that are no numbers.")
    return values


def _is_matrix(name: str) -> bool:
    in_text_encoder = anima.component_of(name) == "text_encoder"
    return anima.is_module(name) and not in_text_encoder and not is_norm(name)


def _terms(fields: Fields) -> StatedTerms | None:
    allowed = fields.text("terms.share_merges")
    if allowed is None:
        return None
    return StatedTerms(
        allowed, fields.text("terms.statement") or "", fields.text("terms.source") or ""
    )
