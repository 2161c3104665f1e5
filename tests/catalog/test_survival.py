"""What people say of an adapter outlives whatever happens to its file."""

import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from lorakit.catalog import AdapterRecord, Catalog
from lorakit.catalog.records import AddResult
from lorakit.errors import Ambiguous, NotFound
from tests.catalog.factories import write_adapter

SAID = {"notes": "bold, at 0.6", "rating": 4, "favourite": True}
TAGS = ("ink", "墨")


def scan(catalog: Catalog, *folders: Path) -> AddResult:
    """What `lorakit scan` does with these folders."""
    catalog.note_absent(folder for folder in folders if not folder.exists())
    return catalog.add([folder for folder in folders if folder.exists()])


def cherish(catalog: Catalog, name: str) -> str:
    """Say something of an adapter; its content."""
    content = catalog.resolve(name).tensor_sha256
    for field, value in SAID.items():
        catalog.set_fact(content, field, value)
    catalog.tag([content], add=TAGS)
    return content


def kept(catalog: Catalog, content: str) -> list[AdapterRecord]:
    """The adapters of a content, once it is certain that all that was said of it is still said."""
    facts = catalog.facts(content)
    assert {field: facts[field][0].value for field in SAID} == SAID
    assert catalog.tags(content) == TAGS
    return [record for record in catalog.adapters() if record.tensor_sha256 == content]


@pytest.fixture
def ink(catalog: Catalog, folder: Path) -> Path:
    """A file in the catalog's folder of which something was said; `cherish` was called `ink`."""
    path = write_adapter(folder / "ink.safetensors", 1)
    write_adapter(folder / "deep" / "other.safetensors", 9)
    scan(catalog, folder)
    return path


def renamed(path: Path) -> Path:
    return path.rename(path.with_name("tusche.safetensors"))


def moved(path: Path) -> Path:
    (path.parent / "new" / "folder").mkdir(parents=True)
    return Path(shutil.move(path, path.parent / "new" / "folder" / path.name))


def copied(path: Path) -> Path:
    return Path(shutil.copy2(path, path.with_name("copy.safetensors")))


def hard_linked(path: Path) -> Path:
    link = path.with_name("hard.safetensors")
    link.hardlink_to(path)
    return link


def soft_linked(path: Path) -> Path:
    link = path.with_name("soft.safetensors")
    link.symlink_to(path)
    return link


def other_case(path: Path) -> Path:
    return path.rename(path.with_name("INK.safetensors"))


def header_edited(path: Path) -> Path:
    return write_adapter(path, 1, {"modelspec.title": "Ink"})


def odd_name(path: Path) -> Path:
    return path.rename(path.with_name("🖌 ink [b]'\"\n$(rm) %s.safetensors"))


@pytest.mark.parametrize(
    "change",
    [
        renamed,
        moved,
        copied,
        hard_linked,
        soft_linked,
        other_case,
        header_edited,
        odd_name,
    ],
)
def test_one_adapter_stays_one_with_all_that_was_said(
    catalog: Catalog, folder: Path, ink: Path, change: Callable[[Path], Path]
) -> None:
    content, before = cherish(catalog, "ink"), catalog.resolve("ink")
    now = change(ink)
    scan(catalog, folder)
    (record,) = kept(catalog, content)
    assert (record.id, record.name, record.added_at) == (before.id, "ink", before.added_at)
    assert now in record.locations
    assert not record.missing
    assert record.existing_path().read_bytes() == now.read_bytes()
    assert len(catalog.adapters()) == 2
    # Seen once more, nothing is news.
    again = scan(catalog, folder)
    assert (again.added, again.moved, again.changed, again.failed) == ((), (), (), ())


def test_a_copy_with_another_header_is_known_by_the_same_words(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content = cherish(catalog, "ink")
    write_adapter(folder / "b.safetensors", 1, {"modelspec.title": "Ink"})
    scan(catalog, folder)
    assert {record.name for record in kept(catalog, content)} == {"ink", "b"}


def test_a_header_edit_after_a_move_is_still_the_same_adapter(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content, old = cherish(catalog, "ink"), ink.read_bytes()
    now = moved(ink)
    scan(catalog, folder)
    header_edited(now)
    scan(catalog, folder)
    (record,) = kept(catalog, content)
    assert (record.name, record.title, record.path) == ("ink", "Ink", now)
    # The earlier header comes back where it was, with whatever time.
    ink.write_bytes(old)
    scan(catalog, folder)
    assert {r.title: r.path for r in kept(catalog, content)} == {"Ink": now, None: ink}


@pytest.mark.parametrize("same_size", [True, False])
def test_other_bytes_under_the_path_are_another_adapter_and_the_old_one_is_kept(
    catalog: Catalog, folder: Path, ink: Path, same_size: bool
) -> None:
    content, old = cherish(catalog, "ink"), ink.read_bytes()
    write_adapter(ink, 2, rank=4 if same_size else 8)
    os.utime(ink, ns=(1, 1))
    assert (ink.stat().st_size == len(old)) == same_size
    scan(catalog, folder)
    (gone,) = kept(catalog, content)
    assert gone.missing
    new = catalog.resolve("ink")
    assert (new.path, catalog.facts(new.tensor_sha256)) == (ink, {})
    (folder / "backup.safetensors").write_bytes(old)
    scan(catalog, folder)
    (back,) = kept(catalog, content)
    assert (back.id, back.path) == (gone.id, folder / "backup.safetensors")


@pytest.mark.parametrize("elsewhere", ["a-old", "z-old"])
def test_a_name_means_the_file_that_was_put_in_the_place_of_another(
    catalog: Catalog, folder: Path, ink: Path, elsewhere: str
) -> None:
    content = cherish(catalog, "ink")
    old = ink.rename(folder / f"{elsewhere}.safetensors")
    write_adapter(ink, 2)
    scan(catalog, folder)
    assert catalog.resolve("ink").path == ink
    (record,) = kept(catalog, content)
    assert (record.name, record.path) == (elsewhere, old)


@pytest.mark.parametrize("elsewhere", ["a-old", "z-old"])
def test_a_name_that_was_given_stays_with_the_file_it_was_given_to(
    catalog: Catalog, folder: Path, ink: Path, elsewhere: str
) -> None:
    content = cherish(catalog, "ink")
    catalog.rename(catalog.resolve("ink").id, "mine")
    old = ink.rename(folder / f"{elsewhere}.safetensors")
    write_adapter(ink, 2)
    scan(catalog, folder)
    assert [(r.name, r.path) for r in kept(catalog, content)] == [("mine", old)]
    assert catalog.resolve("ink").path == ink


@pytest.mark.parametrize("emptied", [True, False])
def test_a_drive_that_is_away_keeps_everything(
    catalog: Catalog, folder: Path, ink: Path, tmp_path: Path, emptied: bool
) -> None:
    content = cherish(catalog, "ink")
    away = folder.rename(tmp_path / "away")
    if emptied:
        folder.mkdir()
    for _ in range(2):
        scan(catalog, folder)
        (record,) = kept(catalog, content)
        assert (record.missing, record.path) == (True, ink)
        with pytest.raises(NotFound, match="missing; it was last seen"):
            record.existing_path()
    assert len(catalog.adapters()) == 2
    if emptied:
        folder.rmdir()
    away.rename(folder)
    result = scan(catalog, folder)
    assert (len(result.known), result.added, result.moved) == (2, (), ())
    assert not kept(catalog, content)[0].missing


def test_a_folder_in_the_place_of_a_file_is_no_file(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content = cherish(catalog, "ink")
    ink.unlink()
    ink.mkdir()
    assert kept(catalog, content)[0].missing
    assert scan(catalog, folder).failed == ()
    assert kept(catalog, content)[0].missing
    assert catalog.find("missing:yes") == kept(catalog, content)
    ink.rmdir()
    write_adapter(ink, 1)
    scan(catalog, folder)
    assert catalog.find("missing:yes") == []


def test_two_files_of_one_name_are_both_of_use(catalog: Catalog, folder: Path, ink: Path) -> None:
    content = cherish(catalog, "ink")
    second = write_adapter(folder / "deep" / "ink.safetensors", 2)
    scan(catalog, folder)
    assert (catalog.resolve("ink").path, catalog.resolve("ink-2").path) == (ink, second)
    assert catalog.resolve(str(second)).name == "ink-2"
    with pytest.raises(Ambiguous, match="fits 2 adapters"):
        catalog.resolve("in")
    other = catalog.resolve("ink-2").tensor_sha256
    catalog.tag([other], add=["second"])
    assert (catalog.tags(other), len(kept(catalog, content))) == (("second",), 1)


def test_composed_and_decomposed_names_are_one_to_a_person(catalog: Catalog, folder: Path) -> None:
    old, new = (
        folder / f"{unicodedata.normalize(form, 'été')}.safetensors" for form in ("NFC", "NFD")
    )
    write_adapter(old, 1)
    scan(catalog, folder)
    content = cherish(catalog, "été")
    old.rename(new)
    scan(catalog, folder)
    assert [record.name for record in kept(catalog, content)] == ["été"]
    assert catalog.resolve(unicodedata.normalize("NFD", "été")).path == new
    # Where the disk tells the two apart, two files are two adapters.
    if not old.exists():
        write_adapter(old, 2)
        scan(catalog, folder)
        assert {catalog.resolve(str(path)).name for path in (old, new)} == {"été", "été-2"}


def test_a_path_in_other_letters_is_the_same_place(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    """Where case makes no difference, the earlier path leads to the file still, as if to a copy."""
    now = other_case(ink)
    scan(catalog, folder)
    assert catalog.resolve("ink").locations == (now,)
    deep = (folder / "deep").rename(folder / "Deep") / "other.safetensors"
    scan(catalog, folder)
    assert catalog.resolve("other").locations == (deep,)
    # Two files whose names differ in case only are two.
    copy = Path(shutil.copy2(now, ink.with_name("Ink.safetensors")))
    if len(list(folder.glob("[Ii][Nn][Kk].*"))) > 1:
        scan(catalog, folder)
        assert set(catalog.resolve("ink").locations) == {now, copy}


def test_links_that_lead_in_circles_and_roots_that_overlap_find_nothing_twice(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content = cherish(catalog, "ink")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "round.safetensors").symlink_to(folder / "round.safetensors")
    result = scan(catalog, folder, folder / "deep", folder / "deep" / ".." / "deep")
    assert [file.path.name for file in result.known] == ["ink.safetensors", "other.safetensors"]
    assert [file.path.name for file in result.failed] == ["round.safetensors"]
    assert kept(catalog, content)[0].locations == (ink,)
    assert len(catalog.adapters()) == 2


def test_a_file_that_is_known_by_two_paths_changes_under_both(
    catalog: Catalog, folder: Path, ink: Path, tmp_path: Path
) -> None:
    content = cherish(catalog, "ink")
    link = tmp_path / "link"
    link.symlink_to(folder)
    scan(catalog, link)
    assert set(kept(catalog, content)[0].locations) == {ink, link / "ink.safetensors"}
    write_adapter(ink, 2, rank=8)
    # Together the folder is entered by its own path only.
    scan(catalog, link, folder)
    assert kept(catalog, content)[0].missing
    assert set(catalog.resolve("ink").locations) == {ink, link / "ink.safetensors"}


def test_a_path_longer_than_most_programs_take(catalog: Catalog, folder: Path, ink: Path) -> None:
    content = cherish(catalog, "ink")
    long = folder.joinpath(*["d" * 200] * 7)
    long.mkdir(parents=True)
    now = ink.rename(long / "ink.safetensors")
    assert len(os.fsencode(now)) > 1021
    assert [file.path for file in scan(catalog, folder).moved] == [now]
    assert kept(catalog, content)[0].existing_path() == now


def test_a_folder_that_no_path_reaches_is_named(catalog: Catalog, folder: Path, ink: Path) -> None:
    most = os.pathconf(folder, "PC_PATH_MAX")
    at = os.open(folder, os.O_RDONLY)
    for _ in range(most // 200 + 1):
        os.mkdir("d" * 200, dir_fd=at)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    failed = scan(catalog, folder).failed
    assert [len(os.fsencode(one.path)) >= most for one in failed] == [True]
    assert "too long" in failed[0].reason
    shutil.rmtree(folder / ("d" * 200), ignore_errors=True)


def test_broken_files_among_good_ones_cost_nothing_else(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content = cherish(catalog, "ink")
    whole = ink.read_bytes()
    (folder / "empty.safetensors").touch()
    (folder / "cut.safetensors").write_bytes(whole[:-1])
    (folder / "head.safetensors").write_bytes(whole[:20])
    write_adapter(folder / "zebra.safetensors", 5)
    result = scan(catalog, folder)
    assert [file.name for file in result.added] == ["zebra"]
    assert {file.path.stem for file in result.failed} == {"empty", "cut", "head"}
    # The same happens to the file itself, and then it is mended.
    for left in (0, 20, len(whole) - 1):
        ink.write_bytes(whole[:left])
        assert ink in {file.path for file in scan(catalog, folder).failed}
        assert [record.id for record in kept(catalog, content)] == [catalog.resolve("ink").id]
    ink.write_bytes(whole)
    assert ink in {file.path for file in scan(catalog, folder).known}
    assert len(catalog.adapters()) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to drop root")
def test_what_may_not_be_read_costs_nothing_else(catalog: Catalog) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom lorakit.catalog import headers, scanning\n"
        "import os, tomllib, lorakit.errors, lorakit.formats.inspection\nos.setuid(65534)\n"
        "found = scanning.find_files([Path(sys.argv[1])])\n"
        "print([Path(f.path).stem for f in found.files], [f.path.name for f in found.failed])\n"
        "for file in found.files:\n"
        "    reader = headers.Headers()\n"
        "    try: print(reader.read(reader.open(file), scalars=True).adapter['module_count'])\n"
        "    except lorakit.errors.BadFile as error: print(error.message)\n"
    )
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for number, stem in enumerate(("closed", "open")):
            write_adapter(root / f"{stem}.safetensors", number)
        (root / "closed.safetensors").chmod(0)
        write_adapter(root / "secret" / "x.safetensors", 3)
        (root / "secret").chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    first, closed, opened = done.stdout.splitlines()
    assert first == "['closed', 'open'] ['secret']"
    assert "closed.safetensors cannot be read" in closed
    assert opened == "2"


def test_a_file_that_returns_to_its_place_has_its_name_again(
    catalog: Catalog, folder: Path, ink: Path
) -> None:
    content, old = cherish(catalog, "ink"), ink.read_bytes()
    for seed, meanwhile in ((2, "ink-2"), (3, "ink-3")):
        write_adapter(ink, seed)
        scan(catalog, folder)
        (gone,) = kept(catalog, content)
        assert (gone.name, catalog.resolve("ink").tensor_sha256 == content) == (meanwhile, False)
        ink.write_bytes(old)
        scan(catalog, folder)
        (back,) = kept(catalog, content)
        assert (back.id, back.name, back.path, back.missing) == (gone.id, "ink", ink, False)
    assert sorted(record.name for record in catalog.adapters() if record.missing) == [
        "ink-2",
        "ink-3",
    ]
    # The name of a file elsewhere stays that file's.
    write_adapter(ink, 2).rename(folder / "ink-2.safetensors")
    write_adapter(ink, 5)
    scan(catalog, folder)
    (folder / "ink-2.safetensors").rename(ink)
    scan(catalog, folder)
    assert {record.path: record.name for record in catalog.adapters()}[ink] == "ink-2"
