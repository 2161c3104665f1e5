"""What the catalog remembers when files change on the disk."""

import os
import shutil
from pathlib import Path

from lorakit.catalog import Catalog
from tests.catalog.factories import write_adapter


def test_a_renamed_file_is_the_same_adapter(catalog: Catalog, folder: Path) -> None:
    old = write_adapter(folder / "ink.safetensors")
    catalog.add([folder])
    before = catalog.resolve("ink")
    new = old.rename(folder / "sub-ink.safetensors")
    (moved,) = catalog.add([folder]).moved
    assert (moved.path, moved.previous, moved.name) == (new, old, "ink")
    after = catalog.resolve("ink")
    assert (after.id, after.added_at) == (before.id, before.added_at)
    assert after.path == new
    assert set(after.locations) == {old, new}
    assert len(catalog.adapters()) == 1


def test_a_file_moved_elsewhere_is_recognised(catalog: Catalog, folder: Path) -> None:
    old = write_adapter(folder / "a" / "ink.safetensors")
    catalog.add([folder / "a"])
    (folder / "b").mkdir()
    new = Path(shutil.move(old, folder / "b" / "ink.safetensors"))
    assert catalog.adapters()[0].missing
    assert [file.path for file in catalog.add([folder / "b"]).moved] == [new]
    assert not catalog.adapters()[0].missing


def test_a_copy_is_a_second_location(catalog: Catalog, folder: Path) -> None:
    first = write_adapter(folder / "ink.safetensors")
    second = Path(shutil.copy(first, folder / "copy.safetensors"))
    os.link(first, folder / "link.safetensors")
    result = catalog.add([folder])
    assert (len(result.added), len(result.known)) == (1, 2)
    (record,) = catalog.adapters()
    assert len(record.locations) == 3
    for path in (first, folder / "link.safetensors"):
        path.unlink()
    (record,) = catalog.adapters()
    assert (record.path, record.missing) == (second, False)


def test_of_several_places_the_one_that_is_called_so_counts_first(
    catalog: Catalog, folder: Path
) -> None:
    first = write_adapter(folder / "loras" / "ink.safetensors")
    catalog.add([folder])
    (folder / "backup").mkdir()
    shutil.copy(first, folder / "backup" / "a.safetensors")
    (folder / "loras" / "backup").mkdir()
    shutil.copy(first, folder / "loras" / "backup" / "ink.safetensors")
    catalog.add([folder])
    (record,) = catalog.adapters()
    assert (record.path, len(record.locations)) == (first, 3)


def test_of_copies_that_are_found_together_the_uppermost_names_the_adapter(
    catalog: Catalog, folder: Path
) -> None:
    first = write_adapter(folder / "wash.safetensors")
    (folder / "backup").mkdir()
    shutil.copy(first, folder / "backup" / "wash_copy.safetensors")
    assert [file.name for file in catalog.add([folder]).added] == ["wash"]


def test_a_header_edit_keeps_the_adapter(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([path], name="mine")
    before = catalog.resolve("mine")
    write_adapter(path, 1, {"modelspec.title": "Ink"})
    assert [file.name for file in catalog.add([folder]).changed] == ["mine"]
    (after,) = catalog.adapters()
    assert (after.id, after.tensor_sha256) == (before.id, before.tensor_sha256)
    assert after.file_sha256 != before.file_sha256
    assert after.title == "Ink"
    assert catalog.report(after)["metadata"] == {"modelspec.title": "Ink"}


def test_a_header_edit_beside_a_copy_of_the_old_file(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([folder])
    copies = [Path(shutil.copy(path, folder / f"{name}.safetensors")) for name in ("a", "z")]
    write_adapter(path, 1, {"modelspec.title": "Ink"})
    result = catalog.add([folder])
    assert (result.failed, len(catalog.adapters())) == ((), 2)
    assert catalog.resolve(str(copies[0])) == catalog.resolve(str(copies[1]))
    assert catalog.resolve(str(path)).title == "Ink"
    # The same, met in the other order.
    other = write_adapter(folder / "m.safetensors", 2)
    catalog.add([folder])
    shutil.copy(other, folder / "n.safetensors")
    write_adapter(other, 2, {"modelspec.title": "M"})
    catalog.add([folder])
    assert catalog.resolve("m").title == "M"
    assert catalog.resolve("n").title is None


def test_a_header_edit_of_a_copy_is_an_adapter_of_its_own(catalog: Catalog, folder: Path) -> None:
    first = write_adapter(folder / "a" / "ink.safetensors", 1)
    (folder / "b").mkdir()
    second = Path(shutil.copy(first, folder / "b" / "ink.safetensors"))
    catalog.add([folder])
    write_adapter(second, 1, {"modelspec.title": "Ink"})
    catalog.add([folder])
    assert {record.name: record.path for record in catalog.adapters()} == {
        "ink": first,
        "ink-2": second,
    }


def test_a_retrained_file_takes_over_the_name_and_the_old_content_stays(
    catalog: Catalog, folder: Path
) -> None:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([path])
    old = catalog.resolve("ink")
    write_adapter(path, 2)
    assert [file.name for file in catalog.add([path]).changed] == ["ink"]
    new, kept = catalog.resolve("ink"), catalog.resolve("ink-2")
    assert (new.path, new.missing) == (path, False)
    assert new.id != old.id
    assert (kept.id, kept.file_sha256) == (old.id, old.file_sha256)
    assert (kept.path, kept.missing, kept.locations) == (None, True, ())
    # The old bytes come back under another path: the old adapter is there again.
    again = write_adapter(folder / "backup.safetensors", 1)
    catalog.add([folder])
    assert catalog.resolve("ink-2").path == again


def test_a_path_that_now_holds_another_known_adapter(catalog: Catalog, folder: Path) -> None:
    ink = write_adapter(folder / "ink.safetensors", 1)
    wash = write_adapter(folder / "wash.safetensors", 2)
    catalog.add([folder])
    swap = folder / "swap"
    ink.rename(swap)
    wash.rename(ink)
    swap.rename(wash)
    catalog.add([folder])
    assert catalog.resolve("ink").path == wash
    assert catalog.resolve("wash").path == ink
    assert not any(record.missing for record in catalog.adapters())


def test_a_change_that_keeps_the_size_is_seen_by_its_time(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([path])
    before = catalog.resolve("ink")
    stat = path.stat()
    write_adapter(path, 2)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert path.stat().st_size == stat.st_size
    catalog.add([path])
    assert catalog.resolve("ink").file_sha256 != before.file_sha256


def test_a_touched_file_is_read_once_and_stays_itself(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "ink.safetensors")
    catalog.add([path])
    os.utime(path, ns=(1, 1))
    read: list[Path] = []
    for _ in range(2):
        result = catalog.add([path], on_progress=lambda file, number, total: read.append(file))
        assert [file.name for file in result.known] == ["ink"]
    assert read == [path]


def test_a_year_beyond_any_database_integer_is_a_time_like_others(
    catalog: Catalog, folder: Path
) -> None:
    path, other = write_adapter(folder / "ink.safetensors"), write_adapter(folder / "wash.sft", 2)
    # As a broken clock or archive leaves it: 2445, which is more than 63 bits of nanoseconds.
    os.utime(path, (15_000_000_000, 15_000_000_000))
    assert sorted(file.name for file in catalog.add([path, other]).added) == ["ink", "wash"]
    read: list[Path] = []
    again = catalog.add([folder], on_progress=lambda file, number, total: read.append(file))
    assert (len(again.known), read) == (2, [])
    assert not catalog.resolve("ink").changed
    assert all(file.unmoved for file in catalog.verify())


def test_an_unplugged_folder_is_missing_and_comes_back(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    drive = folder / "drive"
    for seed in range(3):
        write_adapter(drive / f"{seed}.safetensors", seed)
    write_adapter(folder / "here.safetensors", 9)
    catalog.add([folder])
    before = {record.id: record.name for record in catalog.adapters()}
    away = drive.rename(tmp_path / "away")
    for _ in range(2):
        listed = catalog.adapters()
        assert {record.id: record.name for record in listed} == before
        assert [record.name for record in listed if record.missing] == ["0", "1", "2"]
        assert all(record.path is not None for record in listed)
        catalog.add([folder])
    # An empty mount point is no different.
    drive.mkdir()
    catalog.add([folder, drive])
    assert len(catalog.adapters()) == 4
    drive.rmdir()
    away.rename(drive)
    assert not any(record.missing for record in catalog.adapters())
    result = catalog.add([folder])
    assert (len(result.known), result.added, result.moved) == (4, (), ())
