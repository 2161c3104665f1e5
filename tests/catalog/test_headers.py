"""Headers that end like another's are known quickly, and still judged by all they say."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from lorakit.catalog import Catalog
from tests.models import lora_file, random_lora, usual_names


def begun_with(path: Path, start: bytes, like: Path) -> Path:
    """The tensors of `like` under a header that begins with `start`."""
    raw = like.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    tensors = json.loads(raw[8 : 8 + length])
    tensors.pop("__metadata__", None)
    header = start + b"," + json.dumps(tensors).encode()[1:]
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return path


def test_what_stands_before_the_same_words_counts(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    ink = lora_file(tmp_path / "ink.safetensors", random_lora(usual_names(2), 2))
    for name in ("a", "b"):
        begun_with(
            folder / f"{name}.safetensors", b'{"__metadata__":{"ss_tag":"%c"}' % ord(name), ink
        )
    begun_with(folder / "number.safetensors", b'{"__metadata__":7', ink)
    empty = b'{"extra":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    begun_with(folder / "extra.safetensors", empty, ink)
    begun_with(folder / "twice.safetensors", empty.replace(b"[0,0]", b"[0,4]"), ink)
    with Catalog.open(tmp_path / "catalog.db") as catalog:
        first = catalog.add([folder])
        assert sorted(one.name for one in first.added) == ["a", "b", "extra"]
        assert sorted(one.path.stem for one in first.failed) == ["number", "twice"]
        headers = {name: catalog.report(catalog.resolve(name))["metadata"] for name in "ab"}
        assert headers == {"a": {"ss_tag": "a"}, "b": {"ss_tag": "b"}}
        assert catalog.report(catalog.resolve("extra"))["unused_keys"] == ["extra"]
