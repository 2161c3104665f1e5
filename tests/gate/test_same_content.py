"""Terms belong to the content: another name, place or claim does not loosen them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lorakit.bases import require_not_looser
from lorakit.catalog import Catalog
from lorakit.errors import BadFile, BadUsage, Refused
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.gate import export_checkpoint
from lorakit.stack import Stack
from tests.gate.conftest import register
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

pytestmark = pytest.mark.usefixtures("files")
FREE = Stack.parse("free:0.8")


@pytest.fixture
def denied(files: Path) -> Path:
    """The file that is registered as RDBT."""
    return files.parent / "rdbt.safetensors"


@pytest.mark.parametrize("how", ["same", "copy", "link"])
@pytest.mark.parametrize("first", [True, False])
def test_a_second_registration_under_looser_terms_changes_nothing(
    catalog: Catalog, denied: Path, out: Path, how: str, first: bool
) -> None:
    other = denied if how == "same" else denied.with_name("innocent.safetensors")
    if how == "copy":
        shutil.copy(denied, other)
    elif how == "link":
        other.symlink_to(denied)
    register(catalog, other, "a" if first else "z", "anima")
    with pytest.raises(Refused, match="Sharing merges using this model is not allowed"):
        export_checkpoint(catalog, "a" if first else "z", FREE, out / "merged.safetensors")
    assert list(out.iterdir()) == []


def test_registering_known_content_under_looser_terms_is_refused(
    catalog: Catalog, denied: Path
) -> None:
    sha256 = hash_file(denied, read_header(denied).data_offset).file_sha256
    with pytest.raises(Refused, match="registered as RDBT"):
        require_not_looser(catalog, denied.with_name("new.safetensors"), sha256, "anima")
    require_not_looser(catalog, denied, sha256, "rdbt")
    register(catalog, tiny_base_file(denied.with_name("x.safetensors"), seed=9), "x", "other")
    record = catalog.base("x")
    # A base that nobody has named may be named later.
    require_not_looser(catalog, record.path, str(record.file_sha256), "anima")


@pytest.mark.parametrize("key", ["modelspec.merged_from", "modelspec.title"])
def test_a_permissive_licence_does_not_hide_what_a_header_names(
    catalog: Catalog, out: Path, tmp_path: Path, key: str
) -> None:
    metadata = {"modelspec.license": "MIT", key: "RDBT [Anima] LoRA edition"}
    path = lora_file(
        tmp_path / "nice.safetensors", random_lora(usual_names(3), 3), metadata=metadata
    )
    with pytest.raises(Refused, match="Sharing merges using this model is not allowed"):
        export_checkpoint(catalog, "own", Stack.parse(str(path)), out / "merged.safetensors")


def test_an_adapter_merged_from_strangers_has_unknown_terms(
    catalog: Catalog, out: Path, tmp_path: Path
) -> None:
    metadata = {"modelspec.license": "CC0-1.0", "modelspec.merged_from": "this, that"}
    path = lora_file(tmp_path / "m.safetensors", random_lora(usual_names(3), 3), metadata=metadata)
    with pytest.raises(Refused, match="unknown denies"):
        export_checkpoint(catalog, "own", Stack.parse(str(path)), out / "merged.safetensors")


def swap(base: Path, other: Path) -> None:
    """Put the bytes of `other` in the place of `base`, so that size and time tell nothing."""
    times = base.stat()
    assert other.stat().st_size == times.st_size
    shutil.copy(other, base)
    os.utime(base, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("seed", [1, 9])
def test_a_base_swapped_for_one_of_the_same_size_and_time_is_noticed(
    catalog: Catalog, files: Path, tmp_path: Path, out: Path, seed: int
) -> None:
    base, was = files / "base.safetensors", tmp_path / "was.safetensors"
    shutil.copy(base, was)
    # One is RDBT's own, the other nobody's.
    swap(base, tiny_base_file(tmp_path / "other.safetensors", seed=seed))
    with pytest.raises(BadFile, match="not the one that was registered"):
        export_checkpoint(catalog, "own", FREE, out / "merged.safetensors")
    assert list(out.iterdir()) == []
    # And nothing of the other one sticks to the name.
    swap(base, was)
    export_checkpoint(catalog, "own", FREE, out / "merged.safetensors")


def test_the_hash_that_is_recorded_is_that_of_the_file_that_was_merged(
    catalog: Catalog, files: Path, out: Path
) -> None:
    stale = catalog.resolve("free").file_sha256
    shutil.copy(files / "named.safetensors", files / "free.safetensors")
    done = export_checkpoint(catalog, "own", FREE, out / "merged.safetensors")
    text = done.notice.read_text(encoding="utf-8")
    assert catalog.resolve("named").file_sha256 in text
    assert stale not in text


def test_a_notice_never_follows_a_link_onto_an_ingredient(
    catalog: Catalog, files: Path, out: Path
) -> None:
    before = (files / "free.safetensors").read_bytes()
    (out / "merged.NOTICE.txt").symlink_to(files / "free.safetensors")
    with pytest.raises(BadUsage, match="one of the ingredients"):
        export_checkpoint(catalog, "own", FREE, out / "merged.safetensors", overwrite=True)
    (out / "merged.NOTICE.txt").unlink()
    (out / "merged.NOTICE.txt").symlink_to(out / "nowhere")
    with pytest.raises(BadUsage, match="exists already"):
        export_checkpoint(catalog, "own", FREE, out / "merged.safetensors")
    assert (files / "free.safetensors").read_bytes() == before


def test_a_folder_in_the_way_leaves_no_weights_behind(catalog: Catalog, out: Path) -> None:
    (out / "merged.safetensors").mkdir()
    with pytest.raises(BadUsage, match="is no file"):
        export_checkpoint(catalog, "own", FREE, out / "merged.safetensors", overwrite=True)
    assert [path.name for path in out.iterdir()] == ["merged.safetensors"]
