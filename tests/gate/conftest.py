from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.formats.hashing import hash_model
from lorakit.licenses.parts import keep_parts
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.tracing.kept import keep_base_sketch
from tests.models import lora_file, random_lora, tiny_base_file, usual_names


@pytest.fixture(scope="session")
def new_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog, to be copied: making one climbs every migration."""
    path = tmp_path_factory.mktemp("new") / "catalog.db"
    Catalog.open(path).close()
    return path


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, new_catalog: Path) -> Path:
    """Where `files` and its catalog lie; what they start from is kept beside it."""
    root = tmp_path_factory.mktemp("stocked") / "world"
    folder = root / "files"
    folder.mkdir(parents=True)
    (root / "home").mkdir()
    shutil.copy(new_catalog, root / "home" / "catalog.db")
    with Catalog.open(root / "home" / "catalog.db") as catalog:
        stock(catalog, folder)
    shutil.copytree(root, root.with_name("untouched"))
    return root


def stock(catalog: Catalog, folder: Path) -> None:
    register(catalog, tiny_base_file(folder / "base.safetensors"), "own", "anima")
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


@pytest.fixture
def files(stocked: Path) -> Path:
    """A base of Anima's own, two of RDBT's, and adapters under several licences, all in `catalog`."""
    shutil.rmtree(stocked)
    shutil.copytree(stocked.with_name("untouched"), stocked)
    return stocked / "files"


@pytest.fixture
def catalog(request: pytest.FixtureRequest, tmp_path: Path, new_catalog: Path) -> Iterator[Catalog]:
    """The catalog of `files` where a test asks for those, else an empty one."""
    if "files" in request.fixturenames:
        path = request.getfixturevalue("files").parent / "home" / "catalog.db"
    else:
        path = tmp_path / "catalog.db"
        shutil.copy(new_catalog, path)
    with Catalog.open(path) as opened:
        yield opened


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for the output."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def register(catalog: Catalog, path: Path, name: str, model: str) -> None:
    """What `lorakit base add` does."""
    checkpoint = read_checkpoint(path)
    found = hash_model(path)
    hashes = found.whole
    record = catalog.add_base(
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
    keep_parts(catalog, found)
    keep_base_sketch(catalog, record, sketch_checkpoint(path))
