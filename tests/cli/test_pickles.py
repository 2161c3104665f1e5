"""Files that can run code when they are loaded: counted in folders, refused by name, never opened."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.fixture
def mixed(folder: Path) -> Path:
    """`folder` with two pickles beside the adapters, one in a folder inside and in capitals."""
    (folder / "inside").mkdir()
    for name in ("old.ckpt", "inside/OLD.PT"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    return folder


def test_a_folder_says_how_many_were_not_read(cli: Cli, mixed: Path) -> None:
    added = cli("add", mixed)
    assert (added.code, added.err) == (0, "")
    assert " ".join(added.out.split()).count("2 pickle files, which can run code") == 1
    scanned = cli("scan", "--json").document
    assert scanned["pickles"] == [str(mixed / "inside" / "OLD.PT"), str(mixed / "old.ckpt")]
    assert len(scanned["known"]) == 2
    (mixed / "inside" / "OLD.PT").unlink()
    assert "1 pickle file, which can run code" in " ".join(cli("scan").out.split())
    (mixed / "old.ckpt").unlink()
    assert "pickle" not in cli("scan").out
    assert cli("scan", "--json").document["pickles"] == []


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".pkl"])
def test_one_that_is_named_is_an_error_with_the_way_out(
    cli: Cli, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"old{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    ran = cli("add", path)
    assert (ran.code, ran.err.startswith("Error: ")) == (4, True)
    for words in ("can run code", "weights_only=True", "save_file"):
        assert words in ran.err
    (failed,) = cli("add", path, "--json").document["failed"]
    assert "weights_only=True" in failed["hint"]
