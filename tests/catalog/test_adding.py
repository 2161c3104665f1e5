import json
import os
import shutil
from pathlib import Path

import pytest

from lorakit import formats
from lorakit.catalog import AddResult, Catalog, refused
from lorakit.catalog.derived import keep_derived
from lorakit.catalog.headers import Headers, RawHeader
from lorakit.catalog.refused import KIND, rules, rules_in
from lorakit.catalog.scanning import FoundFile
from lorakit.errors import BadUsage, CatalogError, NotFound
from lorakit.formats.inspection import inspect
from tests.catalog.factories import write_adapter, write_checkpoint


def names(catalog: Catalog) -> list[str]:
    return [record.name for record in catalog.adapters()]


def test_a_folder_is_searched_to_any_depth_and_hidden_folders_are_left_out(
    catalog: Catalog, folder: Path
) -> None:
    write_adapter(folder / "wash.safetensors", 1)
    write_adapter(folder / "deep" / "er" / "ink.SFT", 2)
    write_adapter(folder / ".trash" / "old.safetensors", 3)
    (folder / "notes.txt").write_text("not looked at")
    result = catalog.add([folder])
    assert [file.name for file in result.added] == ["wash", "ink"]
    assert names(catalog) == ["ink", "wash"]


def test_a_record_says_what_the_file_holds(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(
        folder / "ink.safetensors",
        rank=4,
        metadata={
            "ss_base_model_version": "anima",
            "modelspec.trigger_phrase": "ink, lines",
            "modelspec.license": "CC0-1.0",
        },
    )
    catalog.add([path])
    record = catalog.resolve("ink")
    assert (record.layout, record.algo, record.dtype) == ("kohya", "lora", "F16")
    assert (record.rank_min, record.rank_max, record.module_count) == (4, 4, 2)
    assert (record.model_blocks, record.components) == (28, ("dit",))
    assert record.base_model == "anima"
    assert record.trigger_words == ("ink", "lines")
    assert record.license == "CC0-1.0"
    assert (record.path, record.missing, record.locations) == (path, False, (path,))
    assert record.file_size == path.stat().st_size


def test_the_stored_report_is_the_inspected_one(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "ink.safetensors", metadata={"odd": "é 🖌️", "nul": "a\0b"})
    catalog.add([path])
    assert catalog.report(catalog.resolve("ink")) == json.loads(json.dumps(inspect(path).to_dict()))


def test_one_bad_file_stops_nothing(catalog: Catalog, folder: Path) -> None:
    write_adapter(folder / "a.safetensors", 1)
    (folder / "b.safetensors").write_bytes(b"\xff" * 40)
    (folder / "c.safetensors").write_bytes(b"")
    (folder / "d.safetensors").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "e.safetensors")
    write_checkpoint(folder / "f.safetensors")
    write_adapter(folder / "g.safetensors", 2)
    result = catalog.add([folder])
    assert names(catalog) == ["a", "g"]
    assert sorted(file.path.name[0] for file in result.failed) == ["b", "c", "d", "e"]
    assert all(str(file.path) in file.reason or file.reason for file in result.failed)
    (skipped,) = result.skipped_not_adapter
    assert skipped.path.name == "f.safetensors"
    assert "No Anima adapter" in skipped.reason


def test_a_named_path_that_does_not_exist_adds_nothing(catalog: Catalog, folder: Path) -> None:
    good = write_adapter(folder / "ink.safetensors")
    with pytest.raises(NotFound, match=r"typo\.safetensors"):
        catalog.add([good, folder / "typo.safetensors"])
    assert names(catalog) == []


def test_an_unchanged_file_is_not_read_again(catalog: Catalog, folder: Path) -> None:
    write_adapter(folder / "ink.safetensors", 1)
    read: list[Path] = []
    catalog.add([folder], on_progress=lambda path, number, total: read.append(path))
    assert len(read) == 1
    again = catalog.add([folder], on_progress=lambda path, number, total: read.append(path))
    assert len(read) == 1
    assert [file.name for file in again.known] == ["ink"]
    write_adapter(folder / "wash.safetensors", 2)
    catalog.add([folder], on_progress=lambda path, number, total: read.append(path))
    assert [path.name for path in read] == ["ink.safetensors", "wash.safetensors"]


def test_progress_counts_what_is_to_be_read(catalog: Catalog, folder: Path) -> None:
    for seed in range(3):
        write_adapter(folder / f"{seed}.safetensors", seed)
    seen: list[tuple[int, int]] = []
    catalog.add([folder], on_progress=lambda path, number, total: seen.append((number, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_loops_of_links_end(catalog: Catalog, folder: Path) -> None:
    write_adapter(folder / "a" / "ink.safetensors")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "0-link").symlink_to(folder / "a")
    result = catalog.add([folder])
    assert [file.path for file in result.added] == [folder / "a" / "ink.safetensors"]


def test_overlapping_folders_give_each_file_once(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "a" / "ink.safetensors")
    result = catalog.add([folder, folder / "a", path])
    assert len(result.added) == 1
    assert catalog.resolve("ink").locations == (path,)


def test_the_same_stem_twice_gets_a_number(catalog: Catalog, folder: Path) -> None:
    for seed, place in enumerate("abc", start=1):
        write_adapter(folder / place / "ink.safetensors", seed)
    catalog.add([folder / "a"])
    catalog.add([folder])
    assert names(catalog) == ["ink", "ink-2", "ink-3"]


def test_a_chosen_name(catalog: Catalog, folder: Path) -> None:
    ink = write_adapter(folder / "ink.safetensors", 1)
    wash = write_adapter(folder / "wash.safetensors", 2)
    catalog.add([ink], name="My ink")
    assert names(catalog) == ["My ink"]
    with pytest.raises(CatalogError, match="My ink"):
        catalog.add([wash], name="My ink")
    for paths, name in (([ink, wash], "x"), ([folder], "x"), ([ink], " "), ([ink], "a\nb")):
        with pytest.raises(BadUsage):
            catalog.add(paths, name=name)
    catalog.add([ink], name="ink")
    assert names(catalog) == ["ink"]


@pytest.mark.parametrize(
    "stem", ["絵筆 — 水墨", "🖌️", "a b, c: d 'e' \"f\" $g", "-dash", "x" * 240, "per%cent_under"]
)
def test_any_name_is_kept_and_found(catalog: Catalog, folder: Path, stem: str) -> None:
    if len(os.fsencode(stem)) > 240:
        pytest.skip("longer than a file name may be")
    path = write_adapter(folder / f"{stem}.safetensors")
    catalog.add([folder])
    assert catalog.resolve(stem).path == path
    assert catalog.resolve(str(path)).name == stem


def test_decomposed_names_are_found_as_people_type_them(catalog: Catalog, folder: Path) -> None:
    path = write_adapter(folder / "cafe\u0301.safetensors")
    catalog.add([path])
    assert catalog.resolve("caf\u00e9").path == path
    assert catalog.resolve("cafe\u0301").path == path


def test_a_name_stays_in_one_line(catalog: Catalog, folder: Path) -> None:
    write_adapter(folder / "two\nlines.safetensors")
    catalog.add([folder])
    assert names(catalog) == ["two_lines"]


def test_a_name_that_is_not_unicode_is_refused_with_a_reason(
    catalog: Catalog, folder: Path
) -> None:
    try:
        path = write_adapter(folder / os.fsdecode(b"\xff.safetensors"))
    except OSError:
        pytest.skip("this file system takes Unicode only")
    write_adapter(folder / "ink.safetensors", 2)
    for result in (catalog.add([folder]), catalog.add([path])):
        assert "Unicode" in result.failed[0].reason
        str(result.failed[0].path).encode()
    assert names(catalog) == ["ink"]
    with pytest.raises(NotFound):
        catalog.resolve(str(path))


def test_long_paths(catalog: Catalog, folder: Path) -> None:
    deep = folder
    for _ in range(12):
        deep = deep / ("d" * 200)
    path = write_adapter(deep / "ink.safetensors")
    catalog.add([folder])
    assert catalog.resolve("ink").path == path


def test_nothing_to_do(catalog: Catalog, folder: Path) -> None:
    assert catalog.add([]) == AddResult()
    assert catalog.add([folder]) == AddResult()
    assert catalog.adapters() == []


def test_a_catalog_in_memory(folder: Path) -> None:
    write_adapter(folder / "ink.safetensors")
    with Catalog.open("sqlite://") as catalog:
        catalog.add([folder])
        assert catalog.resolve("in").name == "ink"
        assert catalog.add([folder]).known[0].name == "ink"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers are read from now on."""
    found: list[str] = []
    opened = Headers.open

    def noting(self: Headers, file: FoundFile) -> RawHeader:
        found.append(Path(file.path).name)
        return opened(self, file)

    monkeypatch.setattr(Headers, "open", noting)
    return found


def test_what_is_no_adapter_is_not_read_again_until_it_changes(
    catalog: Catalog, folder: Path, read: list[str]
) -> None:
    one = write_checkpoint(folder / "one.safetensors")
    write_checkpoint(folder / "two.safetensors")
    first = catalog.add([folder])
    assert read == ["one.safetensors", "two.safetensors"]
    again = catalog.add([folder])
    assert again.skipped_not_adapter == first.skipped_not_adapter != ()
    assert catalog.add([one]).skipped_not_adapter == first.skipped_not_adapter[:1]
    assert len(read) == 2
    # What takes its place is looked at, and so is the same file where it was asked for by name.
    write_adapter(one)
    assert [file.name for file in catalog.add([folder]).added] == ["one"]
    write_checkpoint(one)
    for _ in range(2):
        assert len(catalog.add([folder]).skipped_not_adapter) == 2
    assert read[2:] == ["one.safetensors"] * 2
    assert names(catalog) == ["one"]


@pytest.mark.parametrize("data", [b"no document", b"[]", b'{"files": 3}', b'{"files": {"a": [1]}}'])
def test_a_damaged_memory_of_what_is_no_adapter_costs_a_reading(
    catalog: Catalog, folder: Path, data: bytes
) -> None:
    write_checkpoint(folder / "one.safetensors")
    first = catalog.add([folder]).skipped_not_adapter
    document = json.loads(data) if data.startswith(b"{") else None
    if document:
        data = json.dumps({"rules": rules(), **document}).encode()
    keep_derived(catalog, KIND, {"all": data})
    assert catalog.add([folder]).skipped_not_adapter == first


def test_what_is_no_adapter_is_looked_at_again_under_other_rules(
    catalog: Catalog,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: list[str],
) -> None:
    own = Path(formats.__path__[0])
    changed = shutil.copytree(own, tmp_path / "formats")
    assert rules_in(changed) == rules_in(own) == rules()
    table = changed / "other_models.toml"
    table.write_text(f"{table.read_text()}\n[[twin]]\nname = 'New'\nwidth = 77\n")
    assert rules_in(changed) != rules()

    write_checkpoint(folder / "one.safetensors")
    catalog.add([folder])
    catalog.add([folder])
    assert read == ["one.safetensors"]
    monkeypatch.setattr(refused, "rules", lambda: rules_in(changed))
    catalog.add([folder])
    catalog.add([folder])
    assert read == ["one.safetensors"] * 2
