"""Whole commands, killed at any moment and several at once: what was kept stays, and is whole."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from tests.catalog.factories import write_adapter
from tests.catalog.test_curation_processes import check
from tests.cli.conftest import Cli
from tests.cli.running import environment, process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals differ"),
]

# Runs one command line many times, its number in place of {n}; each must end well.
AGAIN = """
import sys
from lorakit.cli.main import run

for number in range(int(sys.argv[1])):
    code = run([word.replace("{n}", str(number)) for word in sys.argv[2:]])
    if code:
        sys.exit(f"{sys.argv[2:]} number {number} ended with {code}")
"""


def again(home: Path, times: int, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", AGAIN, str(times), *map(str, words)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def fill(folder: Path, count: int) -> None:
    """Adapters, each with a file of another program beside it."""
    for seed in range(count):
        write_adapter(folder / f"a{seed:03}.safetensors", seed)
        said = {"preferred weight": 0.5, "notes": f"note {seed}"}
        (folder / f"a{seed:03}.json").write_text(json.dumps(said))


def said_by_name(database: Path) -> dict[str, str | None]:
    """Each adapter's name, and the note that was taken over from the file beside it."""
    with Catalog.open(database) as catalog:
        facts = catalog.all_facts(fields=["notes"])
        return {
            one.name: next(
                (f.value for f in facts.get(one.tensor_sha256, {}).get("notes", [])), None
            )
            for one in catalog.adapters()
        }


def test_add_that_is_killed_at_any_moment_goes_on_where_it_was(home: Path, tmp_path: Path) -> None:
    folder, database = tmp_path / "loras", home / "catalog.db"
    fill(folder, 300)
    whole = {f"a{seed:03}": f"note {seed}" for seed in range(300)}
    chance = random.Random(6)
    before: dict[str, str | None] = {}
    killed = 0
    for _ in range(10):
        # While the catalog is being made, while files are read, and while what lies beside them is.
        pause = chance.uniform(0.3, 1.8)
        with subprocess.Popen(
            [sys.executable, "-m", "lorakit", "add", str(folder)],
            env=environment(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            time.sleep(pause)
            os.kill(running.pid, signal.SIGKILL)
        killed += running.returncode == -signal.SIGKILL
        if not database.exists():
            continue
        now = said_by_name(database)
        check(database)
        assert all(said == whole[name] for name, said in now.items() if said is not None)
        # Nothing that was kept has gone.
        assert {name for name in before if name not in now} == set()
        assert {name for name, said in before.items() if said and not now[name]} == set()
        before = now
        if now == whole:
            # All is there, and there is nothing left to lose: from the beginning once more.
            shutil.rmtree(home)
            before = {}
    assert killed
    ran = process(home, "add", folder, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert said_by_name(database) == whole
    assert process(home, "doctor", "--verify").code == 0
    check(database)


def test_commands_at_once_all_end_well(cli: Cli, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    fill(folder, 60)
    assert cli("add", folder, "-q").code == 0
    for seed in range(100, 160):
        write_adapter(tmp_path / "more" / f"b{seed}.safetensors", seed)
    running = [
        again(home, 4, "scan", "-q"),
        again(home, 2, "add", tmp_path / "more", "-q"),
        again(home, 12, "tag", "a000", "a001", "--add", "t{n}"),
        again(home, 12, "tag", "a000", "a002", "--add", "u{n}"),
        again(home, 12, "note", "a003", "--rating", "4", "--text", "note {n}"),
        again(home, 12, "ls", "missing:no", "--json"),
        again(home, 6, "doctor", "-q"),
    ]
    # Meanwhile files are renamed under them.
    for seed in range(10, 40):
        (folder / f"a{seed:03}.safetensors").rename(folder / f"z{seed:03}.safetensors")
        time.sleep(0.05)
    for one in running[:-1]:
        _, errors = one.communicate(timeout=120)
        assert one.returncode == 0, errors
    # A file that was being renamed may have been missing when it looked.
    _, errors = running[-1].communicate(timeout=120)
    assert "Traceback" not in errors
    check(home / "catalog.db")
    assert cli("scan", "-q").code == 0
    assert cli("doctor", "--verify", "-q").code == 0
    tags = {f"t{n}" for n in range(12)} | {f"u{n}" for n in range(12)}
    with Catalog.open(home / "catalog.db") as catalog:
        assert set(catalog.tags(catalog.resolve("a000").tensor_sha256)) >= tags
        noted = catalog.facts(catalog.resolve("a003").tensor_sha256)
        assert (noted["notes"][0].value, noted["rating"][0].value) == ("note 11", 4)
        assert len(catalog.adapters()) == 120
        assert not any(record.missing for record in catalog.adapters())
