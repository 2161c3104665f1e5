from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli


def test_a_dry_run_shows_the_difference_and_writes_nothing(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    cli("note", "ink", "--text", "My own notes")
    path = folder / "ink.json"
    path.write_text('{\n  "notes": "theirs",\n  "sd version": "Unknown"\n}')
    before = sorted(one.name for one in folder.iterdir())
    ran = cli("export-metadata", "ink", "wash", "--to", "a1111", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert '-  "notes": "theirs"' in ran.out
    assert '+  "notes": "My own notes"' in ran.out
    assert sorted(one.name for one in folder.iterdir()) == before
    ran = cli("export-metadata", "ink", "wash", "--to", "a1111")
    assert ran.code == 0
    assert "ink.json.bak-" in ran.out
    assert json.loads(path.read_text()) == {"notes": "My own notes", "sd version": "Unknown"}
    assert "Nothing to write" in cli("export-metadata", "ink", "--to", "a1111").out


def test_json_and_quiet(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    document = cli("export-metadata", "ink", "--to", "lora-manager", "--json").document
    assert document["schema"] == "lorakit/export-metadata/1"
    (file,) = document["files"]
    assert (file["path"], file["backup"]) == (str(folder / "ink.metadata.json"), None)
    ran = cli("export-metadata", "-", "--to", "lora-manager", "-q", stdin="ink\nwash\n")
    assert ran.lines == [str(folder / "wash.metadata.json")]


def test_a_broken_record_is_reported_and_the_others_are_written(cli: Cli, folder: Path) -> None:
    cli("add", folder)
    (folder / "ink.metadata.json").write_text("{")
    ran = cli("export-metadata", "ink", "wash", "--to", "lora-manager", "-q")
    assert ran.code == 4
    assert ran.lines == [str(folder / "wash.metadata.json")]
    assert "ink.metadata.json cannot be read" in ran.err
    assert (folder / "ink.metadata.json").read_text() == "{"
    # Alone, it is not said to hold what is known.
    assert cli("export-metadata", "ink", "--to", "lora-manager").out == ""
    cli("export-metadata", "nothing", "--to", "a1111").failed_with(1, "nothing")
    assert cli("export-metadata", "ink", "--to", "other").code == 2
