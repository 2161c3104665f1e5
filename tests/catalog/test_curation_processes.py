"""Tagging by real processes: killed at any moment, and several at once."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.journal import KEYS

TAG = """
import sys
from pathlib import Path
from lorakit.catalog import Catalog

content, first, last = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Catalog.open(Path(sys.argv[1])) as catalog:
    for number in range(first, last):
        with catalog.step(f"tag {number}"):
            catalog.tag([content], add=[f"t{number:03}"], remove=[f"t{number - 3:03}"])
            catalog.set_fact(content, "title", f"{number}")
        print(number, flush=True)
"""
TABLES = {model.__tablename__: keys for model, keys in KEYS.items()}


def tagging(database: Path, content: str, first: int, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TAG, str(database), content, str(first), str(last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(database: Path) -> int:
    """Hold the tables to the journal, replayed from its beginning; how many steps there are."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        steps = connection.execute("SELECT id FROM step ORDER BY id").fetchall()
        changes = connection.execute(
            "SELECT table_name, before, after FROM change ORDER BY step_id, id"
        ).fetchall()
        connection.row_factory = sqlite3.Row
        stored = {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
            for table in ("fact", "tag")
        }
    assert steps == [(number,) for number in range(1, len(steps) + 1)]
    for fact in stored["fact"]:
        fact["value"] = json.loads(fact["value"])
    replayed: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {"fact": {}, "tag": {}}
    for table, *texts in changes:
        before, after = (json.loads(text or "null") for text in texts)
        row = after or before
        key = tuple(row[name] for name in TABLES[table])
        assert replayed[table].get(key) == before
        if after is None:
            del replayed[table][key]
        else:
            replayed[table][key] = after
    for table, found in stored.items():
        assert sorted(found, key=str) == sorted(replayed[table].values(), key=str)
    return len(steps)


@pytest.mark.slow
def test_a_killed_process_loses_the_step_in_progress_at_most(tmp_path: Path) -> None:
    database = tmp_path / "catalog.db"
    Catalog.open(database).close()
    chance = random.Random(6)
    done = 0
    for stop_after in (40, 90, 150):
        process = tagging(database, "a" * 64, done, 200)
        assert process.stdout is not None
        seen = done
        for line in process.stdout:
            seen = int(line) + 1
            if seen >= stop_after:
                break
        # Somewhere within one of the steps that follow.
        time.sleep(chance.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        seen += len(rest.splitlines())
        done = check(database)
        # A step may have been kept just before it was told.
        assert seen <= done <= seen + 1
        assert done < 200
    with Catalog.open(database) as catalog:
        assert catalog.facts("a" * 64)["title"][0].value == str(done - 1)
        assert catalog.tags("a" * 64) == tuple(f"t{n:03}" for n in range(done - 3, done))
        catalog.undo()
        assert catalog.facts("a" * 64)["title"][0].value == str(done - 2)


@pytest.mark.slow
def test_two_processes_tag_while_one_reads(tmp_path: Path) -> None:
    database = tmp_path / "catalog.db"
    Catalog.open(database).close()
    contents = ["a" * 64, "b" * 64]
    processes = [tagging(database, content, 0, 60) for content in contents]
    last = 0
    with Catalog.open(database) as reader:
        while any(process.poll() is None for process in processes):
            found = reader.all_tags(contents)
            # A step gives one tag and takes one: whoever reads sees it whole.
            assert all(len(tags) <= 3 for tags in found.values())
            steps = reader.steps(1)
            number = steps[0].id if steps else 0
            assert number >= last
            last = number
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert check(database) == 120
