from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter, write_checkpoint
from tests.cli.conftest import Cli

LONG = "a_name_that_goes_on_and_on_" * 7
NAMES = ["墨絵スタイル", "été 🖌️ ink", "[red]markup[bold] :smile:", LONG, 'it\'s "quoted"']


def test_a_folder_is_added_and_listed(cli: Cli, folder: Path) -> None:
    ran = cli("add", folder)
    assert (ran.code, ran.err) == (0, "")
    assert "2: ink, wash" in ran.out
    ran = cli("ls")
    assert [line.split()[0] for line in ran.lines] == ["name", "ink", "wash"]
    assert "CC0-1.0" in ran.out
    # What the file says; what others say of it may allow or deny.
    assert "none named" in ran.out
    again = cli("add", folder)
    assert (again.code, again.out.split()) == (0, ["added", "none", "known", "already", "2"])


def test_an_empty_catalog_says_how_to_begin(cli: Cli) -> None:
    ran = cli("ls")
    assert (ran.code, ran.err) == (0, "")
    assert "lorakit add" in ran.out
    assert cli("ls", "-q").out == ""
    assert cli("ls", "--json").document == {"schema": "lorakit/ls/1", "adapters": []}


def test_json_is_one_document_with_a_schema(cli: Cli, folder: Path) -> None:
    ran = cli("add", folder, "--json")
    assert ran.document["schema"] == "lorakit/add/1"
    assert [file["name"] for file in ran.document["added"]] == ["ink", "wash"]
    ran = cli("ls", "--json")
    assert ran.document["schema"] == "lorakit/ls/1"
    assert ran.document["adapters"][0]["license"] == "CC0-1.0"
    assert ran.out.count("\n") == 1


def test_quiet_prints_names_that_can_be_piped_on(cli: Cli, folder: Path) -> None:
    assert cli("add", folder, "-q").out == "ink\nwash\n"
    names = cli("ls", "--quiet")
    assert names.out == "ink\nwash\n"
    ran = cli("inspect", "-", "-q", stdin=names.out)
    assert ran.lines == [str(folder / "ink.safetensors"), str(folder / "wash.safetensors")]


def test_json_and_quiet_exclude_each_other(cli: Cli) -> None:
    cli("ls", "--json", "-q").failed_with(2, "--json", "--quiet")


def test_paths_come_from_stdin(cli: Cli, folder: Path) -> None:
    ran = cli("add", "-", "-q", stdin=f"{folder / 'ink.safetensors'}\n\n")
    assert ran.out == "ink\n"


def test_a_pattern_narrows_the_list(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    assert cli("ls", "INK", "-q").out == "ink\n"
    assert "No adapter fits 'oil'" in cli("ls", "oil").out


def test_a_broken_file_among_good_ones_is_named_and_the_good_are_added(
    cli: Cli, folder: Path
) -> None:
    (folder / "broken.safetensors").write_bytes(b"\xff" * 40)
    (folder / "astray.safetensors").symlink_to(folder / "nowhere")
    write_checkpoint(folder / "other.safetensors")
    ran = cli("add", folder)
    assert ran.code == 4
    assert "2: ink, wash" in ran.out
    assert "Left out other.safetensors" in ran.out
    warnings = ran.err.splitlines()
    assert len(warnings) == 2
    assert all(line.startswith("Warning: ") for line in warnings)
    for name in ("broken.safetensors", "astray.safetensors"):
        assert ran.err.count(str(folder / name)) == 1
    assert cli("ls", "-q").out == "ink\nwash\n"


def test_a_broken_file_leaves_json_whole(cli: Cli, folder: Path) -> None:
    (folder / "broken.safetensors").write_bytes(b"")
    ran = cli("add", folder, "--json")
    assert ran.code == 4
    assert [Path(file["path"]).name for file in ran.document["failed"]] == ["broken.safetensors"]


def test_a_path_that_does_not_exist_fails(cli: Cli, tmp_path: Path) -> None:
    cli("add", tmp_path / "nowhere").failed_with(1, "nowhere")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_whole_in_80_columns(cli: Cli, folder: Path, name: str) -> None:
    write_adapter(folder / f"{name}.safetensors", 9)
    cli("add", folder)
    ran = cli("ls")
    assert max(map(len, ran.lines)) <= 80
    width = len(ran.lines[0].split("algo")[0])
    shown = "".join(line[:width] for line in ran.lines[1:])
    folded = "".join(shown.split())
    # A wide character takes two columns, so what stands left of the second column is longer there.
    assert ("".join(name.split()) if name.isascii() else name[:3]) in folded
    assert name in cli("ls", "-q").lines
    assert name in [a["name"] for a in cli("ls", "--json").document["adapters"]]


def test_a_missing_file_is_listed_as_missing(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    (folder / "ink.safetensors").unlink()
    assert "missing" in cli("ls", "ink").out
    assert "missing" not in cli("ls", "wash").out
    cli("inspect", "ink").failed_with(1, "missing", "ink")


def test_what_is_to_be_known_of_files_is_marked_and_explained(cli: Cli, folder: Path) -> None:
    assert cli("add", folder).code == 0
    usual = cli("ls").out
    assert ":" not in usual
    assert [one["changed"] for one in cli("ls", "--json").document["adapters"]] == [False, False]
    (folder / "wash.safetensors").unlink()
    write_adapter(folder / "ink.safetensors", 5, {"modelspec.title": "Another"})
    marked = cli("ls").lines
    assert [line.split()[-1] for line in marked[1:3]] == ["changed", "missing"]
    assert marked[3:] == [
        "missing: no file of it is there now; what you said of it stays.",
        "changed: its file has another size or time than when it was read: lorakit scan",
    ]
    states = [(one["missing"], one["changed"]) for one in cli("ls", "--json").document["adapters"]]
    assert states == [(False, True), (True, False)]
    assert "another size or time than when the catalog read it" in " ".join(
        cli("inspect", "ink").out.split()
    )
    assert cli("scan").code == 0
    assert "changed" not in cli("ls", "ink").out
    # Of two places, the one that is as it was read counts.
    shutil.copy2(folder / "ink.safetensors", folder / "copy.safetensors")
    assert cli("scan").code == 0
    os.utime(folder / "ink.safetensors", (1, 1))
    (one,) = cli("ls", "missing:no", "--json").document["adapters"]
    assert (one["changed"], Path(one["path"]).name) == (False, "copy.safetensors")


def test_an_adapter_that_is_called_as_a_mark_is_none(cli: Cli, folder: Path) -> None:
    (folder / "ink.safetensors").rename(folder / "missing.safetensors")
    assert cli("add", folder).code == 0
    assert "no file of it" not in cli("ls").out
