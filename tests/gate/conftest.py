from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.formats.hashing import hash_file
from tests.models import lora_file, random_lora, tiny_base_file, usual_names


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "home" / "catalog.db") as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path, catalog: Catalog) -> Path:
    """A base that is registered twice, as Anima and as RDBT, and adapters under several licences."""
    folder = tmp_path / "files"
    folder.mkdir()
    tiny_base_file(folder / "base.safetensors")
    register(catalog, folder / "base.safetensors", "own", "anima")
    # Files of their own: the same content under two models would stand under the stricter terms.
    for seed, model in enumerate(("rdbt", "rdbt-lora"), start=1):
        denied = folder.parent / f"{model}.safetensors"
        register(catalog, tiny_base_file(denied, seed=seed), model, model)
    for seed, (name, license) in enumerate(
        (("free", "CC0-1.0"), ("named", "CC-BY-4.0"), ("closed", "CC-BY-ND-4.0"), ("silent", None))
    ):
        metadata = {"modelspec.license": license} if license else None
        modules = random_lora(usual_names(3), 3, rank=2 + seed, seed=seed)
        lora_file(folder / f"{name}.safetensors", modules, metadata=metadata)
    catalog.add([folder])
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for the output."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def register(catalog: Catalog, path: Path, name: str, model: str) -> None:
    """What `lorakit base add` does."""
    checkpoint = read_checkpoint(path)
    hashes = hash_file(path, checkpoint.header.data_offset)
    catalog.add_base(
        path,
        name=name,
        model=model,
        prefix=checkpoint.prefix,
        blocks=checkpoint.blocks,
        dtype=checkpoint.dtype,
        components=None,
        file_sha256=hashes.file_sha256,
        tensor_sha256=hashes.tensor_sha256,
    )
