"""Adapters on places that are not a plain disk: folders of a network, and drives that come and go."""

import os
import shutil
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.mounts import numbers_last
from tests.catalog.factories import write_adapter, write_checkpoint


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table of mounts, to be written."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr("lorakit.mounts._TABLE", table)
    return table


def mount(table: Path, point: Path, kind: str) -> None:
    table.write_text(f"1 0 8:1 / / rw - ext4 d rw\n2 1 0:5 / {point} rw - {kind} s rw\n")


def numbered_anew(path: Path) -> None:
    """Give a file another inode number, as its file system does with the next mount."""
    copy = path.with_suffix(".copy")
    shutil.copy2(path, copy)
    assert copy.stat().st_ino != path.stat().st_ino
    copy.replace(path)


@pytest.mark.parametrize(
    ("kind", "read_again"), [("ext4", True), ("nfs4", True), ("fuse.sshfs", False), ("vfat", False)]
)
def test_numbers_that_do_not_last_tell_no_change(
    catalog: Catalog, folder: Path, mounted: Path, kind: str, read_again: bool
) -> None:
    mount(mounted, folder, kind)
    path = write_adapter(folder / "ink.safetensors", 1)
    model = write_checkpoint(folder / "model.safetensors")
    catalog.add([folder])
    numbered_anew(path)
    numbered_anew(model)
    read: list[Path] = []
    result = catalog.add([folder], on_progress=lambda file, number, total: read.append(file))
    assert [file.name for file in result.known] == ["ink"]
    assert sorted(read) == ([path, model] if read_again else [])


def test_files_known_from_before_are_not_read_again(
    catalog: Catalog, folder: Path, mounted: Path
) -> None:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([folder])
    mount(mounted, folder, "cifs")
    numbered_anew(path)
    read: list[Path] = []
    catalog.add([folder], on_progress=lambda file, number, total: read.append(file))
    assert read == []
    # Another time or size is a change there as everywhere.
    os.utime(path, ns=(1, 1))
    catalog.add([folder], on_progress=lambda file, number, total: read.append(file))
    assert read == [path]


def test_a_number_that_does_not_last_proves_no_move(
    catalog: Catalog, folder: Path, mounted: Path
) -> None:
    mount(mounted, folder, "fuse.sshfs")
    old = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([folder])
    # Size, time, number and header are those of the file that went; the tensors are not.
    stat = old.stat()
    data = bytearray(old.read_bytes())
    data[-1] ^= 1
    new = old.rename(folder / "new.safetensors")
    new.write_bytes(data)
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (new.stat().st_ino, new.stat().st_size) == (stat.st_ino, stat.st_size)
    result = catalog.add([folder])
    assert ([file.path for file in result.added], result.moved) == ([new], ())
    # A move is known by the hash all the same.
    again = new.rename(folder / "again.safetensors")
    assert [file.path for file in catalog.add([folder]).moved] == [again]


def test_pending_files_stay_what_they_are(catalog: Catalog, folder: Path, mounted: Path) -> None:
    mount(mounted, folder, "fuse.sshfs")
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([folder], headers_only=True)
    (before,) = catalog.adapters()
    numbered_anew(path)
    result = catalog.add([folder], headers_only=True)
    assert [file.path for file in result.pending] == [path]
    assert catalog.adapters() == [before]
    assert [file.adapter_id for file in catalog.add([folder]).added] == [before.id]


def test_numbers_last_where_nothing_is_known_of_the_place(tmp_path: Path) -> None:
    assert numbers_last(tmp_path, b"")
    assert numbers_last(tmp_path, b"1 0 8:1 / / rw - xfs d rw")
    assert not numbers_last(tmp_path, b"1 0 8:1 / / rw - fuseblk d rw")


def test_the_clock_of_a_server_hides_nothing_from_a_query(
    tmp_path: Path, folder: Path, mounted: Path
) -> None:
    home = tmp_path / "home"
    mount(mounted, home, "nfs4")
    write_adapter(folder / "ink.safetensors", 1)
    with Catalog.open(home / "catalog.db") as catalog:
        catalog.add([folder])
        content = catalog.resolve("ink").tensor_sha256
        found = []
        for add, remove in ((["dark"], []), (["grim"], ["dark"])):
            catalog.tag([content], add=add, remove=remove)
            # Of the same size, and of the same second an hour ago.
            os.utime(home / "catalog.db", (1_000_000_000, 1_000_000_000))
            found.append([len(catalog.find("tag:dark")), len(catalog.find("tag:grim"))])
    assert found == [[1, 0], [0, 1]]


def away(folder: Path) -> Path:
    """Take the drive at `folder` away, so that nothing but its mount point is left."""
    gone = folder.rename(folder.with_name("away"))
    folder.mkdir()
    return gone


def test_an_emptied_folder_is_told_once_with_how_much_it_held(
    catalog: Catalog, folder: Path
) -> None:
    for seed in range(3):
        write_adapter(folder / f"{seed}" / f"style{seed}.safetensors", seed)
    other = write_adapter(folder.parent / "here" / "style0.safetensors", 0)
    catalog.add([folder, other])
    gone = away(folder)
    (folder / ".hidden").touch()
    for _ in range(2):
        (one,) = catalog.add([folder]).emptied
        # One of the three lies elsewhere as well.
        assert (one.path, one.adapters, one.state) == (folder, 2, "is empty")
    catalog.remember_folders([folder])
    found = [one for one in catalog.examine() if one.kind == "emptied"]
    assert [(one.text, one.path) for one in found] == [
        (f"{folder} is empty: 2 missing", str(folder))
    ]
    # That is all there is to say of them.
    assert {one.kind for one in catalog.examine()} == {"emptied"}
    shutil.rmtree(folder)
    gone.rename(folder)
    assert catalog.add([folder]).emptied == ()
    assert not any(record.missing for record in catalog.adapters())


def test_a_drive_below_a_folder_is_told_when_it_goes(catalog: Catalog, folder: Path) -> None:
    write_adapter(folder / "ink.safetensors", 1)
    single = write_adapter(folder / "single" / "sumi.safetensors", 2)
    for seed in (3, 4):
        write_adapter(folder / "drive" / "deep" / f"{seed}.safetensors", seed)
    catalog.add([folder])
    away(folder / "drive").rename(folder.parent / "away")
    # A file that a person deleted leaves an empty folder as well.
    single.unlink()
    assert [(one.path, one.adapters) for one in catalog.add([folder]).emptied] == [
        (folder / "drive", 2)
    ]
    # Known by then; only folders that are scanned as a whole are told again.
    assert catalog.add([folder]).emptied == ()


def test_files_that_were_moved_or_replaced_leave_no_emptied_folder(
    catalog: Catalog, folder: Path
) -> None:
    for seed in range(3):
        write_adapter(folder / "old" / f"{seed}.safetensors", seed)
    catalog.add([folder])
    (folder / "old").rename(folder / "new")
    (folder / "old").mkdir()
    assert catalog.add([folder]).emptied == ()
    # Another file holds the folder's place.
    shutil.rmtree(folder / "new")
    assert [one.adapters for one in catalog.add([folder]).emptied] == [3]
    write_adapter(folder / "other.safetensors", 9)
    assert catalog.add([folder]).emptied == ()


@pytest.mark.parametrize("headers_only", [True, False])
def test_a_drive_that_goes_while_it_is_read_is_told_once(
    catalog: Catalog, folder: Path, headers_only: bool
) -> None:
    drive = folder / "drive"
    for seed in range(9):
        write_adapter(drive / f"style{seed}.safetensors", seed)
    broken = write_adapter(folder / "broken.safetensors", 20)
    broken.write_bytes(b"x")
    write_adapter(folder / "zz.safetensors", 21)
    asked: list[Path] = []

    def on_progress(path: Path, number: int, total: int) -> None:
        asked.append(path)
        if path.name == "style3.safetensors":
            away(drive).rename(folder.parent / "away")

    result = catalog.add([folder], on_progress=on_progress, headers_only=headers_only)
    assert len(asked) == 11
    assert {one.path for one in result.failed} == {broken, drive}
    (lost,) = (one for one in result.failed if one.path == drive)
    # What was being read at that moment may or may not have been whole.
    assert [n for n in (5, 6, 7) if f"and {n} files of it were not read" in lost.reason]
    assert result.emptied == ()
    stored = {file.name for file in (*result.added, *result.pending)}
    assert stored >= {"style0", "zz"}
    shutil.rmtree(drive)
    (folder.parent / "away").rename(drive)
    again = catalog.add([folder])
    assert {one.name for one in catalog.adapters()} >= {f"style{seed}" for seed in range(9)}
    assert {one.path for one in again.failed} == {broken}


def test_a_drive_that_goes_while_it_is_looked_through_is_told_once(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = folder / "drive"
    for seed in range(4):
        write_adapter(drive / f"{seed}" / "deep" / f"style{seed}.safetensors", seed)
    catalog.add([folder])
    before = catalog.adapters()
    listed = os.scandir

    def scandir(path: str) -> object:
        if path == str(drive / "1"):
            away(drive).rename(folder.parent / "gone")
        return listed(path)

    monkeypatch.setattr("os.scandir", scandir)
    result = catalog.add([folder])
    assert [(one.path, one.reason) for one in result.failed] == [
        (drive, "went away while it was read")
    ]
    assert result.emptied == ()
    monkeypatch.setattr("os.scandir", listed)
    drive.rmdir()
    (folder.parent / "gone").rename(drive)
    assert len(catalog.add([folder]).known) == 4
    assert catalog.adapters() == before
