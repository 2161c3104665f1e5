"""Starting quickly: what a command must not import. Times are for `bench/`; one loose limit is here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.catalog.factories import write_adapter
from tests.cli.running import environment, process

HEAVY = {
    "PIL",
    "accelerate",
    "alembic",
    "diffusers",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "safetensors",
    "sqlalchemy",
    "torch",
    "transformers",
}
LISTING = (
    "import json, sys\n"
    "from lorakit.cli.main import run\n"
    "code = run(sys.argv[1:])\n"
    "json.dump(sorted(sys.modules), sys.stderr)\n"
    "sys.exit(code)\n"
)


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "ink.safetensors")


def modules(home: Path, *words: str | Path) -> set[str]:
    """The modules that are loaded when `lorakit` with `words` is done."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *map(str, words)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr))


def test_inspect_of_a_file_imports_nothing_heavy(ink: Path, tmp_path: Path) -> None:
    assert modules(tmp_path, "inspect", ink, "--json") & (HEAVY | {"rich", "sqlite3"}) == set()
    assert modules(tmp_path, "inspect", ink) & (HEAVY | {"sqlite3"}) == set()


def test_ls_reads_the_catalog_without_heavy_imports(ink: Path, tmp_path: Path) -> None:
    assert process(tmp_path, "add", ink).code == 0
    reading = (
        ("tag",),
        ("note", "ink"),
        ("collection", "ls"),
        ("undo", "--list"),
        ("stack", "--list"),
    )
    for words in (("ls",), ("ls", "--json"), ("base", "ls"), ("inspect", "ink"), *reading):
        assert modules(tmp_path, *words) & HEAVY == set()


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    for words in ((), ("--help",), ("preview", "--help"), ("export", "--help")):
        assert modules(tmp_path, *words) & HEAVY == set()


def test_the_version_imports_next_to_nothing(tmp_path: Path) -> None:
    loaded = modules(tmp_path, "--version")
    assert loaded & (HEAVY | {"pydantic", "rich", "typer", "lorakit.cli.app"}) == set()


def test_importing_lorakit_imports_nothing_else() -> None:
    listing = (
        "import sys; before = set(sys.modules); import lorakit; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    loaded = {
        name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert loaded == {"lorakit"}


def test_inspect_answers_at_once(ink: Path, tmp_path: Path) -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert process(tmp_path, "inspect", ink, "--json").code == 0
        times.append(time.perf_counter() - started)
    # Far above the aim, for machines that do other work too; a heavy import would still show.
    assert min(times) < 1.0
