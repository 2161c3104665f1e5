"""What a person is told of drives that went away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lorakit.catalog.paths import file_stat
from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli


def test_an_unplugged_drive_is_one_warning_and_costs_nothing(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    drive = tmp_path / "drive"
    for seed in (5, 6, 7):
        write_adapter(drive / f"far{seed}.safetensors", seed)
    cli("add", folder, drive)
    cli("tag", "far5", "--add", "dear")
    drive.rename(tmp_path / "away")
    drive.mkdir()
    ran = cli("scan")
    assert (ran.code, ran.err.count("Warning")) == (0, 1)
    assert f"{drive} is empty now; 3 adapters are kept as missing" in ran.err
    assert "plugged in" in ran.err
    told = cli("scan", "--json").document["emptied"]
    assert told == [{"path": str(drive), "adapters": 3, "state": "is empty"}]
    assert "is empty now" in cli("add", drive, "-q").err
    ran = cli("doctor", "--json")
    found = {one["kind"]: one["text"] for one in ran.document["findings"]}
    assert (ran.code, found["emptied"]) == (1, f"{drive} is empty: 3 missing")
    assert cli("ls", "tag:dear", "-q").lines == ["far5"]
    drive.rmdir()
    (tmp_path / "away").rename(drive)
    ran = cli("scan", "--json")
    assert (ran.err, ran.document["emptied"], len(ran.document["known"])) == ("", [], 5)
    assert cli("ls", "tag:dear", "-q").lines == ["far5"]


def test_a_folder_that_does_not_answer_keeps_no_other_from_being_scanned(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "nas"
    write_adapter(other / "far.safetensors", 5)
    cli("add", folder, other)
    other.rename(tmp_path / "away")
    # As with a server that is away, every question ends in an error.
    other.symlink_to(other)
    write_adapter(folder / "new.safetensors", 6)
    ran = cli("scan", "--json")
    assert ([one["name"] for one in ran.document["added"]], ran.code) == (["new"], 0)
    assert ran.document["absent_folders"] == [str(other)]
    cli("add", other).failed_with(1, "cannot be reached", "drive")


def test_a_folder_that_does_not_answer_is_named_while_it_is_waited_for(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("add", folder)
    asked: list[Path] = []

    def answer(path: Path) -> bool:
        if not asked:
            time.sleep(0.3)
        asked.append(path)
        return True

    monkeypatch.setattr("lorakit.cli.waiting.is_there", answer)
    assert cli("scan").err == ""
    monkeypatch.setattr("lorakit.cli.waiting._PATIENCE_S", 0.05)
    asked.clear()
    ran = cli("scan", "-q")
    assert (ran.code, ran.err.count("Warning")) == (0, 1)
    assert f"{folder} does not answer" in ran.err


@pytest.mark.parametrize("verb", [("ls",), ("tag", "ink"), ("note", "rank:4")])
def test_whoever_lists_files_says_that_a_folder_is_waited_for(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    cli("add", folder)

    def late(path: str | Path) -> os.stat_result | None:
        time.sleep(0.2)
        return file_stat(path)

    monkeypatch.setattr("lorakit.catalog.queries.file_stat", late)
    assert "does not answer" not in cli(*verb).err
    monkeypatch.setattr("lorakit.cli.waiting._PATIENCE_S", 0.05)
    assert cli(*verb).err.count("A folder that adapters lie in does not answer") == 1
