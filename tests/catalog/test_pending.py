"""Adapters of which the header alone was read: shown, but nothing can be said of them until they are known."""

import json
import os
import shutil
from pathlib import Path

import pytest

from lorakit.catalog import AdapterRecord, Catalog
from lorakit.catalog.arriving import INDEX_FILES
from lorakit.catalog.hashing import BATCH_FILES
from lorakit.catalog.headers import Headers
from lorakit.catalog.importing import said_in_cache
from lorakit.catalog.reports import columns_of
from lorakit.catalog.scanning import find_files
from lorakit.errors import CatalogError, NotFound
from lorakit.formats.header import read_header
from lorakit.formats.inspection import inspect, report_header
from lorakit.formats.sidecars.lora_manager_cache import CachedModel
from lorakit.formats.sidecars.said import SidecarFacts
from lorakit.licenses.adding import take_in
from tests.catalog.factories import write_adapter, write_checkpoint


def listed(catalog: Catalog, path: Path) -> AdapterRecord:
    """The adapter at a path as a list shows it: nothing is read for it."""
    (record,) = [one for one in catalog.adapters() if path in one.locations]
    return record


def index(catalog: Catalog, *paths: Path) -> None:
    """Read headers only, of files that are all new."""
    found = catalog.add(paths, headers_only=True)
    assert (found.added, found.failed) == ((), ())
    assert found.pending


@pytest.fixture
def ink(catalog: Catalog, folder: Path) -> Path:
    path = write_adapter(folder / "ink.safetensors", 1, {"modelspec.title": "Old ink"})
    index(catalog, folder)
    return path


def test_a_header_tells_all_but_the_content(catalog: Catalog, ink: Path) -> None:
    record = listed(catalog, ink)
    assert record.pending
    assert (record.name, record.title, record.rank_max) == ("ink", "Old ink", 4)
    assert [one.name for one in catalog.find("old block:1 kind:mlp rank:4 -block:2..")] == ["ink"]
    assert catalog.find("duplicate:yes") == catalog.find("hash:0") == []
    (finding,) = catalog.examine()
    assert (finding.kind, finding.name, finding.problem) == ("pending", "ink", False)
    assert catalog.verify() == []


def test_nothing_can_be_said_of_it(catalog: Catalog, ink: Path) -> None:
    content = listed(catalog, ink).tensor_sha256
    catalog.new_collection("best")
    for say in (
        lambda: catalog.set_fact(content, "notes", "fine"),
        lambda: catalog.tag([content], add=["fine"]),
        lambda: catalog.collect("best", [content]),
        lambda: catalog.record_claim(content, origin="user", source="me", terms={}),
        lambda: catalog.rename(listed(catalog, ink).id, "tusche"),
    ):
        with pytest.raises(CatalogError, match="not read whole"):
            say()
    catalog.keep_sketch(content, "adapter", name="ink", model=None, parent=None, data=b"")
    assert catalog.sketches() == []
    assert catalog.steps()[0].command == "collection new best"


def test_naming_it_reads_it(catalog: Catalog, folder: Path, ink: Path) -> None:
    write_adapter(folder / "wash.safetensors", 2)
    index(catalog, folder)
    before = listed(catalog, ink)
    record = catalog.resolve("ink")
    hashes = inspect(ink).hashes
    assert hashes is not None
    assert (record.id, record.file_sha256) == (before.id, hashes.file_sha256)
    assert record.tensor_sha256 == hashes.tensor_sha256
    assert catalog.report(record) == json.loads(json.dumps(inspect(ink).to_dict()))
    assert listed(catalog, ink) == record
    # The other waits still, and is read where several are wanted.
    assert [one.pending for one in catalog.adapters()] == [False, True]
    done: list[tuple[int, int]] = []
    found = catalog.identified(catalog.adapters(), lambda path, n, total: done.append((n, total)))
    assert [one.pending for one in found] == [False, False]
    assert done == [((folder / "wash.safetensors").stat().st_size,) * 2]


def test_what_is_missing_or_broken_stays_pending(catalog: Catalog, ink: Path) -> None:
    whole = ink.read_bytes()
    ink.write_bytes(whole[:-1])
    assert catalog.resolve("ink").pending
    ink.unlink()
    record = catalog.resolve("ink")
    assert (record.pending, record.missing) == (True, True)
    with pytest.raises(NotFound) as raised:
        catalog.resolve("sha256:abcd")
    assert (raised.value.hint or "").startswith("Not read whole yet: 1")
    assert catalog.forget([record.id]) == 1
    catalog.undo()
    ink.write_bytes(whole)
    assert not catalog.resolve("ink").pending


def test_the_next_scan_goes_on(catalog: Catalog, folder: Path, ink: Path) -> None:
    number = listed(catalog, ink).id
    result = catalog.add([folder])
    assert [(file.adapter_id, file.name) for file in result.added] == [(number, "ink")]
    assert not listed(catalog, ink).pending
    assert [file.path for file in catalog.add([folder]).known] == [ink]


def test_many_new_files_are_known_before_any_is_read(catalog: Catalog, folder: Path) -> None:
    count = INDEX_FILES + BATCH_FILES
    for seed in range(count):
        write_adapter(folder / f"{seed:03}.safetensors", seed)
    seen: list[int] = []
    names: set[str] = set()

    def on_hash(path: Path, done: int, total: int) -> None:
        if not seen:
            names.update(record.name for record in catalog.adapters())
        seen.append(done)

    result = catalog.add([folder], on_hash=on_hash)
    assert len(result.added) == count
    assert len(names) == count
    assert seen == sorted(seen)
    assert seen[-1] == sum(path.stat().st_size for path in folder.iterdir())
    assert not any(record.pending for record in catalog.adapters())


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_turns_out_to_be_known_takes_its_place(
    catalog: Catalog, folder: Path, gone: bool
) -> None:
    old = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([folder])
    content = catalog.resolve("ink").tensor_sha256
    catalog.set_fact(content, "rating", 4)
    # Another disk numbers its files anew, so that reading tells.
    new = Path(shutil.copy(old, folder / "copy.safetensors"))
    if gone:
        old.unlink()
    index(catalog, folder)
    assert listed(catalog, new).pending
    assert len(catalog.adapters()) == 2
    result = catalog.add([folder])
    (file,) = result.moved if gone else [one for one in result.known if one.path == new]
    assert (file.path, file.name) == (new, "ink")
    assert file.previous == (old if gone else None)
    (record,) = catalog.adapters()
    assert (set(record.locations), record.tensor_sha256) == ({old, new}, content)
    assert catalog.facts(content)["rating"][0].value == 4


def test_a_renamed_file_is_known_at_once(catalog: Catalog, folder: Path) -> None:
    old = write_adapter(folder / "ink.safetensors", 1)
    other = write_adapter(folder / "wash.safetensors", 2)
    catalog.add([folder])
    new = old.rename(folder / "tusche.safetensors")
    # Another file in its place, and a link to one that stays, change nothing about that.
    write_adapter(old, 3)
    (folder / "link.safetensors").hardlink_to(other)
    result = catalog.add([folder], headers_only=True)
    assert {file.path: file.name for file in result.known if file.path != other} == {
        new: "ink",
        folder / "link.safetensors": "wash",
    }
    assert result.pending == ()
    assert not listed(catalog, new).pending
    assert [file.path for file in catalog.add([folder]).changed] == [old]
    assert catalog.resolve(str(new)).tensor_sha256 == inspect_content(new)


def inspect_content(path: Path) -> str:
    hashes = inspect(path).hashes
    assert hashes is not None
    return hashes.tensor_sha256


def test_a_number_that_was_given_to_another_file_deceives_nobody(
    catalog: Catalog, folder: Path
) -> None:
    old = write_adapter(folder / "ink.safetensors", 1, {"modelspec.title": "Ink"})
    catalog.add([folder])
    stat = old.stat()
    new = write_adapter(folder / "sumi.safetensors", 2, {"modelspec.title": "Ash"})
    os.utime(new, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    old.unlink()
    with catalog._store.writing() as session:
        number = new.stat().st_ino
        session.connection().exec_driver_sql("UPDATE location SET inode = ?", (number,))
    assert [file.path for file in catalog.add([folder], headers_only=True).pending] == [new]
    assert [file.path for file in catalog.add([folder]).added] == [new]


def test_a_pending_file_that_moves_changes_or_goes(catalog: Catalog, ink: Path) -> None:
    number = listed(catalog, ink).id
    moved = ink.rename(ink.with_name("tusche.safetensors"))
    (file,) = catalog.add([ink.parent], headers_only=True).moved
    assert (file.path, file.previous, file.adapter_id) == (moved, ink, number)
    write_adapter(moved, 7)
    assert catalog.resolve(str(moved)).tensor_sha256 == inspect_content(moved)
    moved.unlink()
    catalog.add([ink.parent])
    assert all(record.missing for record in catalog.adapters())


def test_what_lies_beside_is_taken_over_when_the_content_is_known(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    ink.with_suffix(".metadata.json").write_text(json.dumps({"notes": "at 0.6"}))
    assert take_in(catalog, catalog.add([folder], headers_only=True), "scan").read == 0
    catalog.resolve("ink")
    assert take_in(catalog, catalog.add([folder]), "scan").changed == 1
    content = catalog.resolve("ink").tensor_sha256
    assert catalog.facts(content)["notes"][0].value == "at 0.6"


def test_a_cache_of_another_program_says_nothing_of_it(catalog: Catalog, ink: Path) -> None:
    model = CachedModel(str(ink), "", SidecarFacts("lora-manager", "", {"notes": "fine"}, ()))
    assert said_in_cache(catalog._store, [model]) == ({}, 0)


def test_headers_that_are_alike_are_read_as_each_alone(folder: Path) -> None:
    """What is remembered of earlier headers changes nothing, whatever comes in which order."""
    alike = {"ss_tag_frequency": '{"a": {"ink": 3}}', "ss_network_dim": "4"}
    write_adapter(folder / "a.safetensors", 0, alike)
    write_adapter(folder / "b.safetensors", 0, {"modelspec.title": "B \\ \U0001f5bc", **alike})
    write_adapter(folder / "c.safetensors", 3)
    write_adapter(folder / "d.safetensors", 4, {"lorakit.base_blocks": "5"})
    write_adapter(folder / "e.safetensors", 5, alike, rank=8)
    write_adapter(folder / "peft" / "f.safetensors", 6, alike)
    (folder / "peft" / "adapter_config.json").write_text('{"lora_alpha": 2, "r": 4}')
    write_checkpoint(folder / "g.safetensors")
    shutil.copy(folder / "g.safetensors", folder / "h.safetensors")
    padded(folder / "a.safetensors", folder / "i.safetensors")
    headers = Headers()
    files = find_files([folder]).files
    for file in [*files, *reversed(files)]:
        for scalars in (False, True):
            found = headers.read(headers.open(file), scalars=scalars)
            report = report_header(read_header(file.path), scalars=scalars)
            if not report.modules:
                assert (found.path, found.reason) == (Path(file.path), report.notes[0])  # type: ignore[union-attr]
                continue
            expected = columns_of(report)
            for row in ("adapter", "report"):
                one, other = (json.dumps(getattr(c, row), default=repr) for c in (found, expected))
                assert json.loads(one) == json.loads(other)


def padded(path: Path, target: Path) -> None:
    """The same file with spaces after its header, as safetensors writes them."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length] + b" " * 5
    target.write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + length :])
