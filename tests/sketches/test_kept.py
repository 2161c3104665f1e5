"""Sketches are taken once and then come from the catalog, even when the file has gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lorakit.catalog import BaseRecord, Catalog
from lorakit.errors import Ambiguous, BadFile, NotFound
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.sketches.fingerprint import Fingerprint, to_bytes
from lorakit.tracing import kept
from tests.models import lora_file, random_lora
from tests.sketches.factories import assert_same, expected, named, saved, weights

Q = "blocks.0.self_attn.q_proj"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.db") as opened:
        yield opened


def model(path: Path, seed: int = 0, prefix: str = "net.") -> Path:
    return saved(path, named(weights(seed), prefix))


def content_of(path: Path) -> str:
    return hash_file(path, read_header(path).data_offset).tensor_sha256


def add(catalog: Catalog, path: Path, *, known: bool = True, parent: str | None = None) -> BaseRecord:  # fmt: skip
    """Register a base as this version does, or without a content, as older ones did."""
    hashes = hash_file(path, read_header(path).data_offset)
    return catalog.add_base(
        path,
        name=path.stem,
        model="anima",
        prefix="net.",
        blocks=2,
        dtype="F32",
        components="kept/parts",
        file_sha256=hashes.file_sha256,
        tensor_sha256=hashes.tensor_sha256 if known else None,
        parent=parent,
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_base_is_sampled_once(catalog: Catalog, tmp_path: Path, known: bool) -> None:
    path = model(tmp_path / "base.safetensors")
    record = add(catalog, path, known=known)
    assert_same(kept.ensure_base_sketch(catalog, record), expected(weights()))
    after = catalog.base("base")
    assert after.tensor_sha256 == content_of(path)
    assert (after.components, after.model) == ("kept/parts", "anima")
    path.unlink()
    assert_same(kept.ensure_base_sketch(catalog, catalog.base("base")), expected(weights()))
    (stored,) = catalog.sketches("base")
    assert kept.kept_fingerprint(catalog, stored).name == "base"


def test_a_base_that_is_missing_or_changed_is_not_sampled(catalog: Catalog, tmp_path: Path) -> None:
    path = model(tmp_path / "base.safetensors")
    record = add(catalog, path)
    path.unlink()
    with pytest.raises(NotFound, match=r"base\.safetensors"):
        kept.ensure_base_sketch(catalog, catalog.base("base"))
    model(path, seed=1)
    with pytest.raises(BadFile, match="changed"):
        kept.ensure_base_sketch(catalog, catalog.base("base"))
    # Other bytes of the same size and time: the hash tells.
    other = catalog.add_base(
        path, name="base", model="anima", prefix="net.", blocks=2, dtype="F32", components=None,
        file_sha256=record.file_sha256,
    )  # fmt: skip
    with pytest.raises(BadFile, match="changed"):
        kept.ensure_base_sketch(catalog, other)
    assert catalog.sketches() == []


def test_a_damaged_sketch_is_taken_again(catalog: Catalog, tmp_path: Path) -> None:
    record = add(catalog, model(tmp_path / "base.safetensors"))
    content = record.tensor_sha256
    assert content is not None
    catalog.keep_sketch(content, "base", name="base", model=None, parent=None, data=b"broken")
    (stored,) = catalog.sketches()
    with pytest.raises(BadFile, match="base in the catalog"):
        kept.kept_fingerprint(catalog, stored)
    assert_same(kept.ensure_base_sketch(catalog, record), expected(weights()))
    assert len(catalog.sketch_data(catalog.sketches()[0])) > 100


def test_an_adapter_is_sampled_once(catalog: Catalog, tmp_path: Path) -> None:
    modules = random_lora([Q], 1, rank=2)
    path = lora_file(tmp_path / "ink.safetensors", modules)
    content = content_of(path)
    delta = modules[Q].delta(torch.zeros(32, 32))
    wanted = expected({Q: delta})
    assert_same(kept.ensure_adapter_sketch(catalog, content, path), wanted, tolerance=1e-6)
    path.unlink()
    assert_same(kept.ensure_adapter_sketch(catalog, content, path), wanted, tolerance=1e-6)
    assert [record.name for record in catalog.sketches("adapter")] == ["ink"]


def test_another_adapter_in_its_place_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "ink.safetensors", random_lora([Q], 1))
    content = content_of(path)
    lora_file(path, random_lora([Q], 1, seed=1))
    with pytest.raises(BadFile, match=r"ink\.safetensors holds another"):
        kept.ensure_adapter_sketch(catalog, content, path)
    path.unlink()
    with pytest.raises(BadFile, match=r"ink\.safetensors"):
        kept.ensure_adapter_sketch(catalog, content, path)


def learn(catalog: Catalog, name: str, content: str, parent: str | None = None) -> None:
    from lorakit.sketches.sketch import Sketch

    made = Fingerprint("base", name, content, Sketch({}, "F32", 1), parent=parent)
    catalog.keep_sketch(
        content, "fingerprint", name=name, model=None, parent=parent, data=to_bytes(made)
    )


def test_a_model_is_found_by_name_or_content(catalog: Catalog, tmp_path: Path) -> None:
    path = model(tmp_path / "anima-base.safetensors")
    content = content_of(path)
    with pytest.raises(NotFound, match="'anima'"):
        kept.find_content(catalog, "anima")
    add(catalog, path, known=False)
    # Reads the file, since a base from before has no content.
    assert kept.find_content(catalog, "ANIMA") == content
    assert kept.find_content(catalog, f"sha256:{content[:8]}") == content
    learn(catalog, "anima-yume", "a" * 64)
    assert kept.find_content(catalog, "anima-y") == "a" * 64
    learn(catalog, "anima-base", content)
    assert kept.find_content(catalog, "anima-base") == content
    with pytest.raises(Ambiguous) as caught:
        kept.find_content(catalog, "anima")
    assert "anima-base, anima-yume" in str(caught.value.hint)
    for nothing in ("", "sha256:", "nobody"):
        with pytest.raises(NotFound) as missing:
            kept.find_content(catalog, nothing)
        assert "anima-yume" in str(missing.value.hint)


def test_descent_is_followed_through_bases_and_fingerprints(
    catalog: Catalog, tmp_path: Path
) -> None:
    one, two, three = "1" * 64, "2" * 64, content_of(model(tmp_path / "base.safetensors"))
    learn(catalog, "one", one)
    learn(catalog, "two", two, parent=one)
    add(catalog, tmp_path / "base.safetensors", parent=two)
    assert kept.known_parent(catalog, three) == two
    assert kept.known_parent(catalog, one) is None
    assert kept.is_made_from(catalog, three, one)
    assert kept.is_made_from(catalog, one, one)
    assert not kept.is_made_from(catalog, one, three)
    # A circle that another program wrote is no endless walk.
    learn(catalog, "one", one, parent=two)
    assert not kept.is_made_from(catalog, two, three)
