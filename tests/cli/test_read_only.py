"""A catalog that cannot be written: what reads goes on with one warning, what writes says so."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli
from tests.cli.running import Ran, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions differ")

READING = (
    "ls -q",
    "ls tag:dark -q",
    "inspect ink",
    "tag ink",
    "note ink",
    "collection ls",
    "collection show night",
    "undo --list",
    "base ls",
    "doctor --verify",
    "similar ink",
    "report -o {}/report.html",
    "export-metadata ink --to lora-manager --dry-run",
    "license audit",
)
WRITING = (
    "add {}/new",
    "tag ink --add more",
    "note ink --rating 4",
    "collection new day",
    "forget ink",
    "undo",
    "collection rm night",
    "tag ink --remove dark",
)
# Runs command lines one after the other in a process of its own, and prints what each left.
RUNS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from lorakit.cli.main import run

left = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(words)
    left.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(left))
"""
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def as_anybody() -> None:
    """Let the system heed permissions in the program that is started next, root or not (Linux)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError("root may not give up its rights here")


def run_all(home: Path, lines: tuple[str, ...], tmp_path: Path) -> dict[str, Ran]:
    words = [line.format(tmp_path).split() for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", RUNS, json.dumps(words)],
        env=environment(home),
        preexec_fn=as_anybody,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = [Ran(*one) for one in json.loads(done.stdout)]
    return dict(zip(lines, left, strict=True))


@pytest.fixture(params=["folder", "file"])
def closed(cli: Cli, folder: Path, home: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The home of a catalog that cannot be written, or whose folder cannot."""
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may write anything")
    cli("add", folder)
    cli("tag", "ink", "--add", "dark")
    cli("collection", "new", "night", "ink")
    write_adapter(folder.parent / "new" / "new.safetensors", 7)
    (home / "catalog.db").chmod(0o444)
    if request.param == "folder":
        home.chmod(0o555)
    yield home
    home.chmod(0o755)


@pytest.mark.slow
def test_what_reads_goes_on_with_one_warning(closed: Path, tmp_path: Path) -> None:
    before = (closed / "catalog.db").read_bytes()
    for line, ran in run_all(closed, READING, tmp_path).items():
        assert ran.code == 0, (line, ran.err)
        assert ran.err.count("Warning") == 1, (line, ran.err)
        assert "cannot be written; it is read as it stands" in ran.err
        if line == "ls tag:dark -q":
            assert ran.lines == ["ink"]
        if line == "doctor --verify":
            assert "Where the catalog lies" in ran.out
    assert (closed / "catalog.db").read_bytes() == before


def test_another_error_does_not_hide_the_warning(closed: Path, tmp_path: Path) -> None:
    (ran,) = run_all(closed, ("inspect nothing",), tmp_path).values()
    assert ran.code == 1
    warning, _, error = ran.err.partition("Error: ")
    assert "cannot be written; it is read as it stands" in warning
    assert "nothing" in error


def test_what_writes_says_that_it_cannot(closed: Path, tmp_path: Path) -> None:
    for line, ran in run_all(closed, WRITING, tmp_path).items():
        assert (ran.code, ran.out) == (1, ""), (line, ran.out, ran.err)
        assert "catalog.db cannot be written" in ran.err.partition("Error: ")[2], line
        assert "Check the permissions" in ran.err
        assert "Warning" not in ran.err, (line, ran.err)
        assert "Traceback" not in ran.err


@pytest.mark.parametrize("below", ["", "sub", "sub/deeper"])
def test_a_file_in_the_place_of_the_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "file" / below))
    for words in (("ls",), ("add", tmp_path), ("doctor",), ("tag",)):
        cli(*words).failed_with(1, "cannot be made: a file is in the way", "LORAKIT_HOME")
    assert (tmp_path / "file").read_text() == "mine"


def test_doctor_names_files_that_may_not_be_read(
    cli: Cli, folder: Path, home: Path, tmp_path: Path
) -> None:
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may read anything")
    cli("add", folder)
    (folder / "ink.safetensors").chmod(0)
    for ran in run_all(home, ("doctor --json", "doctor --verify --json"), tmp_path).values():
        (finding,) = ran.document["findings"]
        assert (ran.code, finding["kind"], finding["name"]) == (1, "unreadable", "ink")
