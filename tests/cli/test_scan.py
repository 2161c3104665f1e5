from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli


def test_scan_looks_through_the_folders_that_were_added(cli: Cli, folder: Path) -> None:
    assert cli("add", folder).code == 0
    write_adapter(folder / "deep" / "new.safetensors", 7)
    (folder / "wash.safetensors").unlink()
    ran = cli("scan")
    assert (ran.code, ran.err) == (0, "")
    assert "1: new" in ran.out
    assert "1: lorakit ls missing:yes" in ran.out
    assert cli("scan", "--json").document["missing"] == 1
    assert cli("scan", "--json").document["schema"] == "lorakit/scan/1"
    missing = [one["name"] for one in cli("ls", "--json").document["adapters"] if one["missing"]]
    assert missing == ["wash"]


def test_what_other_programs_say_is_taken_over_with_a_warning_for_what_is_broken(
    cli: Cli, folder: Path
) -> None:
    (folder / "ink.json").write_text(json.dumps({"preferred weight": 0.6, "notes": "theirs"}))
    (folder / "wash.cm-info.json").write_text("{")
    ran = cli("add", folder)
    assert ran.code == 0
    assert ran.err.count("Warning") == 1
    assert "wash.cm-info.json cannot be read" in ran.err
    assert "theirs" in cli("inspect", "ink").out
    again = cli("scan", "--json")
    assert (again.err, again.document["beside"]["read"]) == ("", 0)
    assert cli("scan", "--reread", "-q").err.count("Warning") == 1


def test_a_folder_that_is_gone_is_a_warning_and_its_adapters_are_missing(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "drive"
    write_adapter(other / "far.safetensors", 5)
    cli("add", folder, other)
    other.rename(tmp_path / "unplugged")
    ran = cli("scan", "--json")
    assert (ran.code, ran.document["absent_folders"]) == (0, [str(other)])
    assert f"{other} is not there now" in ran.err
    assert cli("scan", other).code == 0
    assert {one["name"] for one in cli("ls", "--json").document["adapters"]} == {
        "far",
        "ink",
        "wash",
    }
    (tmp_path / "unplugged").rename(other)
    assert cli("scan", "-q").err == ""


def test_scan_without_folders_says_how_to_begin(cli: Cli, tmp_path: Path) -> None:
    cli("scan").failed_with(1, "No folder", "lorakit add", "--discover")
    cli("scan", tmp_path / "nothing").failed_with(1, "nothing")
    cli("scan", "--yes").failed_with(2, "--discover")
    cli("scan", "--drop").failed_with(2, "--drop")
    cli("scan", "--drop", "--discover").failed_with(2, "exclude")
    cli("scan", "--lora-manager", tmp_path / "none.sqlite").failed_with(4, "none.sqlite")


def test_nothing_new_is_looked_for_in_a_dropped_folder(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    assert cli("scan", "--drop", folder, "-q").lines == [str(folder)]
    write_adapter(folder / "new.safetensors", 7)
    write_adapter(folder / "ink.safetensors", 8)
    ran = cli("scan", "--json").document
    assert ([one["name"] for one in ran["changed"]], ran["added"]) == (["ink"], [])
    cli("scan", "--drop", folder).failed_with(1, "None of these folders")


def test_a_file_that_was_added_alone_is_looked_at_without_its_folder(
    cli: Cli, folder: Path
) -> None:
    cli("add", folder / "ink.safetensors")
    assert cli("scan", "--json").document["folders"] == []
    assert cli("ls", "-q").lines == ["ink"]
    (folder / "ink.json").write_text('{"notes": "beside", "sd version": ""}')
    assert cli("scan", "--json").document["beside"]["changed"] == 1
    (folder / "ink.safetensors").unlink()
    assert cli("scan").code == 0
    assert cli("ls", "missing:yes", "-q").lines == ["ink"]


def test_discover_proposes_and_adds_only_when_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, **_: tmp_path / "c" / name)
    comfy = tmp_path / "user" / "ComfyUI"
    (comfy / "custom_nodes").mkdir(parents=True)
    write_adapter(comfy / "models" / "loras" / "ink.safetensors")
    ran = cli("scan", "--discover", tmp_path / "user")
    assert (ran.code, ran.err) == (0, "")
    assert "ComfyUI" in ran.out
    assert "--yes" in ran.out
    assert max(map(len, ran.lines)) <= 80
    assert cli("ls", "-q").out == ""
    found = cli("scan", "--discover", tmp_path / "user", "--json").document["proposals"]
    assert [(one["files"], one["known"]) for one in found] == [(1, False)]
    ran = cli("scan", "--discover", tmp_path / "user", "--yes", "-q")
    assert ran.lines == ["ink"]
    assert cli("scan", "-q").code == 0
    ran = cli("scan", "--discover", tmp_path / "user", "--yes")
    assert "known" in ran.out


def test_headers_are_listed_before_files_are_read(cli: Cli, folder: Path) -> None:
    (folder / "wash.json").write_text(json.dumps({"preferred weight": 0.6, "notes": "theirs"}))
    document = cli("scan", "--headers", "--json", folder).document
    assert (document["added"], document["beside"]["read"]) == ([], 0)
    assert [one["name"] for one in document["pending"]] == ["ink", "wash"]
    *rows, legend = cli("ls").lines[1:]
    assert [row.split()[-2:] for row in rows] == [["header", "only"]] * 2
    assert legend.startswith("header only: ")
    assert cli("ls", "--format", "name,hash").out.split() == ["name", "hash", "ink", "wash"]
    for one in cli("ls", "--json").document["adapters"]:
        assert (one["pending"], one["file_sha256"], one["tensor_sha256"]) == (True, None, None)
    doctor = cli("doctor", "--json")
    assert (doctor.code, [one["kind"] for one in doctor.document["findings"]]) == (
        0,
        ["pending"] * 2,
    )
    ran = cli("scan", folder)
    assert "2: ink, wash" in ran.out
    assert "header only" not in cli("ls").out
    assert "theirs" in cli("inspect", "wash").out
    cli("scan", "--headers", "--discover").failed_with(2, "--headers")


@pytest.mark.parametrize(
    "words",
    [
        ("tag", "rank:1..", "--add", "dark"),
        ("tag", "ink", "--add", "dark"),
        ("note", "ink", "--rating", "4"),
        ("note", "ink", "--name", "sumi"),
        ("collection", "new", "night", "ink"),
        ("collection", "new", "night", "algo:lora"),
        ("license", "set", "ink", "--share-merges", "deny", "--source", "their page"),
        ("forget", "ink"),
    ],
)
def test_what_is_said_of_an_adapter_reads_its_file_first(
    cli: Cli, folder: Path, words: tuple[str, ...]
) -> None:
    cli("scan", "--headers", folder)
    ran = cli(*words)
    assert (ran.code, "pending:" in ran.out + ran.err) == (0, False)
    cli("scan")
    stored = cli("undo", "--list", "--json").out
    assert "pending:" not in stored
    assert not any(one["pending"] for one in cli("ls", "--json").document["adapters"])


def test_what_cannot_be_read_gets_no_tag(cli: Cli, folder: Path) -> None:
    cli("scan", "--headers", folder)
    (folder / "ink.safetensors").unlink()
    cli("tag", "ink", "--add", "dark").failed_with(1, "not read whole", "lorakit scan")
    assert cli("tag", "--json").document["tags"] == []
