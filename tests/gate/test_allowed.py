"""An export that every licence allows: the right bytes, with what must go along."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.catalog import Catalog
from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.formats.ancestry import read_ancestry
from lorakit.formats.header import read_header
from lorakit.fusion.base import BaseTensors, open_base
from lorakit.gate import export_checkpoint
from lorakit.licenses.terms import known_licenses, known_models
from lorakit.stack import Stack
from tests.fusion.test_quantised import scaled_base
from tests.gate.conftest import register
from tests.models import tiny_base_file

STACK = Stack.parse("free:0.8 named:-0.5")


def fused(files: Path) -> dict[str, torch.Tensor]:
    entries = [(files / "free.safetensors", 0.8), (files / "named.safetensors", -0.5)]
    return dict(lorakit.fuse(files / "base.safetensors", entries))


def test_the_tensors_are_those_that_fuse_gives(catalog: Catalog, files: Path, out: Path) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    written, wanted = load_file(done.path), fused(files)
    assert written.keys() == wanted.keys() == load_file(files / "base.safetensors").keys()
    for key, tensor in wanted.items():
        assert written[key].dtype == tensor.dtype
        assert torch.equal(written[key], tensor), key


def test_letting_go_of_mapped_files_on_the_way_changes_no_byte(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counted(path: Path) -> BaseTensors:
        opened.append(path)
        return open_base(path)

    monkeypatch.setattr("lorakit.fusion.base.open_base", counted)
    monkeypatch.setattr("lorakit.gate.checkpoint._MAPPED_BYTES", 1000)
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    written = load_file(done.path)
    assert len(opened) > 20
    assert all(torch.equal(written[key], tensor) for key, tensor in fused(files).items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_half_precision_base_keeps_its_type(
    catalog: Catalog, files: Path, out: Path, dtype: torch.dtype
) -> None:
    half = tiny_base_file(files / "half.safetensors", dtype=dtype, prefix="")
    register(catalog, half, "half", "anima")
    done = export_checkpoint(catalog, "half", Stack.parse("free:0.8"), out / "merged.safetensors")
    wanted = lorakit.fuse(half, [(files / "free.safetensors", 0.8)])
    written = load_file(done.path)
    assert {tensor.dtype for tensor in written.values()} == {dtype}
    assert all(torch.equal(written[key], wanted[key]) for key in wanted)


def test_a_base_in_8_bits_is_written_as_it_is_fused(
    catalog: Catalog, files: Path, out: Path
) -> None:
    path = files / "eight.safetensors"
    save_file(scaled_base("scale_weight"), path)
    register(catalog, path, "eight", "anima")
    done = export_checkpoint(catalog, "eight", Stack.parse("free:0.8"), out / "merged.safetensors")
    wanted = lorakit.fuse(path, [(files / "free.safetensors", 0.8)])
    written = load_file(done.path)
    assert written.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert written[key].dtype == tensor.dtype
        assert torch.equal(written[key].float(), tensor.float()), key


def test_what_no_entry_touches_keeps_its_bytes(catalog: Catalog, files: Path, out: Path) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    base, written = load_file(files / "base.safetensors"), load_file(done.path)
    kept = [key for key in base if "adaln" in key or "llm_adapter" in key or "norm" in key]
    assert len(kept) > 10
    assert all(torch.equal(base[key], written[key]) for key in kept)
    touched = "net.blocks.1.self_attn.q_proj.weight"
    assert not torch.equal(base[touched], written[touched])


def test_the_file_is_valid_by_our_reader_and_the_reference(
    catalog: Catalog, files: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    header = read_header(done.path)
    assert header.data_offset % 8 == 0
    with safe_open(done.path, framework="pt") as file:
        assert set(file.keys()) == set(header.tensors)


def test_the_header_says_of_what_and_under_which_licence(
    catalog: Catalog, files: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    metadata = read_header(done.path).metadata
    assert metadata["modelspec.merged_from"] == "own, free, named"
    licenses = metadata["modelspec.license"].split(" AND ")
    assert {"LicenseRef-CircleStone-NC-1.2", "CC0-1.0", "CC-BY-4.0"} <= set(licenses)
    for field in ("sai_model_spec", "architecture", "implementation", "title", "resolution"):
        assert metadata[f"modelspec.{field}"]
    assert metadata["modelspec.title"] == "merged"
    assert json.loads(metadata["lorakit.ingredients"])["format"] == "lorakit/ingredients/1"
    (decision,) = catalog.decisions()
    assert metadata["lorakit.audit"] == decision.hash == done.audit


def test_the_ingredients_are_recorded_with_hashes_strengths_and_terms(
    catalog: Catalog, files: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    own, free, named = read_ancestry(read_header(done.path).metadata)
    base = catalog.base("own")
    assert (own.role, own.content, own.file_sha256) == (
        "base",
        base.tensor_sha256,
        base.file_sha256,
    )
    assert (own.model, own.strength) == ("anima", None)
    for found, name, strength in ((free, "free", "0.8"), (named, "named", "-0.5")):
        record = catalog.resolve(name)
        assert (found.name, found.strength, found.role) == (name, strength, "adapter")
        assert (found.content, found.file_sha256) == (record.tensor_sha256, record.file_sha256)
    assert named.terms.license == "CC-BY-4.0"
    assert named.terms.obligations == known_licenses()["cc-by-4.0"].obligations


def test_the_notice_holds_every_obligation(catalog: Catalog, files: Path, out: Path) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    assert done.notice == out / "merged.NOTICE.txt"
    notice = done.notice.read_text(encoding="utf-8")
    duties = known_models()["anima"].obligations + known_licenses()["cc-by-4.0"].obligations
    assert len(duties) == 6
    for duty in duties:
        assert f"- {duty}\n" in notice
    for name in ("free", "named"):
        assert f"{name} at strength" in notice
        assert catalog.resolve(name).file_sha256 in notice
        assert catalog.resolve(name).tensor_sha256 in notice
    assert sorted(path.name for path in out.iterdir()) == [
        "merged.NOTICE.txt",
        "merged.safetensors",
    ]


def test_the_notice_shows_notices_word_for_word_and_where_licences_stand(
    catalog: Catalog, files: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    notice = done.notice.read_text(encoding="utf-8")
    for text in (
        "The CircleStone Model is licensed by CircleStone Labs LLC under the CircleStone "
        "Non-Commercial License. Copyright CircleStone Labs LLC.\nIN NO EVENT SHALL CIRCLESTONE",
        "Licensed by NVIDIA Corporation under the NVIDIA Open Model License",
        "Built on NVIDIA Cosmos",
    ):
        assert f"\n{text}" in notice
    assert "https://huggingface.co/circlestone-labs/Anima" in notice
    assert "https://spdx.org/licenses/CC-BY-4.0.html" in notice
    assert "MODIFIED" in notice
    assert done.audit in notice


def test_nothing_that_may_be_shared_names_a_folder_of_the_person(
    catalog: Catalog, files: Path, out: Path
) -> None:
    stack = Stack.parse(f"{files / 'free.safetensors'}:0.8 {files / 'named.safetensors'}")
    done = export_checkpoint(catalog, "own", stack, out / "merged.safetensors")
    header = " ".join(read_header(done.path).metadata.values())
    for text in (header, done.notice.read_text(encoding="utf-8")):
        assert "free" in text
        assert str(files) not in text
        assert str(out) not in text


def test_an_allowed_export_is_in_the_audit_table_too(
    catalog: Catalog, files: Path, out: Path
) -> None:
    export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    (decision,) = catalog.decisions()
    assert (decision.action, decision.verdict) == ("export", "allowed")
    assert decision.subject["share_merges"] == "allow_with_obligations"


def test_what_is_there_is_overwritten_only_when_asked(
    catalog: Catalog, files: Path, out: Path
) -> None:
    target = out / "merged.safetensors"
    target.write_bytes(b"kept")
    with pytest.raises(BadUsage, match="exists already"):
        export_checkpoint(catalog, "own", STACK, target)
    assert target.read_bytes() == b"kept"
    assert list(out.iterdir()) == [target]
    export_checkpoint(catalog, "own", STACK, target, overwrite=True)
    assert len(read_header(target).tensors) == len(load_file(files / "base.safetensors"))


@pytest.mark.parametrize("name", ["base", "free"])
@pytest.mark.parametrize("way", ["itself", "a link"])
def test_an_ingredient_is_never_overwritten(
    catalog: Catalog, files: Path, out: Path, name: str, way: str
) -> None:
    target = ingredient = files / f"{name}.safetensors"
    before = ingredient.read_bytes()
    if way == "a link":
        target = out / "link.safetensors"
        target.symlink_to(ingredient)
    with pytest.raises(BadUsage, match="one of the ingredients"):
        export_checkpoint(catalog, "own", STACK, target, overwrite=True)
    assert ingredient.read_bytes() == before


def test_a_link_that_leads_to_itself_is_in_the_way_like_any_other_file(
    catalog: Catalog, files: Path, out: Path
) -> None:
    target = out / "loop.safetensors"
    target.symlink_to(target)
    with pytest.raises(BadUsage, match="exists already"):
        export_checkpoint(catalog, "own", STACK, target)
    export_checkpoint(catalog, "own", STACK, target, overwrite=True)
    assert target.is_file()
    assert not target.is_symlink()


@pytest.mark.parametrize("target", ["merged.ckpt", "nowhere/merged.safetensors"])
def test_an_output_that_cannot_be_is_refused_before_any_work(
    catalog: Catalog, files: Path, out: Path, target: str
) -> None:
    with pytest.raises(BadUsage):
        export_checkpoint(catalog, "own", STACK, out / target)
    assert list(out.iterdir()) == []


def test_room_is_asked_for_before_writing_and_for_no_more_than_is_written(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    size = (files / "base.safetensors").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, size // 2))
    with pytest.raises(LorakitError, match=f"{size // 2:,} bytes free"):
        export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    assert list(out.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, size + 1_100_000))
    done = export_checkpoint(catalog, "own", STACK, out / "merged.safetensors")
    assert done.path.stat().st_size + done.notice.stat().st_size < size + 100_000


@pytest.mark.parametrize("name", ["base", "free"])
def test_an_ingredient_that_changes_meanwhile_stops_the_export(
    catalog: Catalog, files: Path, out: Path, name: str
) -> None:
    def meddle(done: int, total: int, what: str) -> None:
        if total and done == total // 2:
            os.utime(files / f"{name}.safetensors")

    with pytest.raises(BadFile, match=f"{name}.safetensors was changed"):
        export_checkpoint(catalog, "own", STACK, out / "merged.safetensors", on_progress=meddle)
    assert list(out.iterdir()) == []


def test_the_home_folder_may_be_written_short(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(out))
    monkeypatch.setenv("USERPROFILE", str(out))
    done = export_checkpoint(catalog, "own", STACK, "~/merged.safetensors")
    assert done.path == out / "merged.safetensors"
    assert done.path.is_file()


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_no_file(
    catalog: Catalog, files: Path, out: Path, failure: BaseException
) -> None:
    seen = []

    def fail(done: int, total: int, what: str) -> None:
        seen.append([path.stat().st_size for path in out.iterdir()])
        if total and done == total // 2:
            raise failure

    with pytest.raises((type(failure), LorakitError)):
        export_checkpoint(catalog, "own", STACK, out / "merged.safetensors", on_progress=fail)
    # The checkpoint and its notice were there to be cleared away.
    assert len(seen[-1]) == 2
    assert list(out.iterdir()) == []


def test_a_failure_keeps_the_file_that_was_to_be_overwritten(
    catalog: Catalog, files: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = out / "merged.safetensors"
    target.write_bytes(b"kept")

    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((OSError, LorakitError)):
        export_checkpoint(catalog, "own", STACK, target, overwrite=True)
    assert list(out.iterdir()) == [target]
    assert target.read_bytes() == b"kept"
