"""Several real processes at once, and some that are killed."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from lorakit.catalog import Catalog
from lorakit.catalog.arriving import INDEX_FILES
from lorakit.catalog.hashing import BATCH_FILES
from tests.catalog.factories import write_adapter

ADD = """
import sys
from pathlib import Path
from lorakit.catalog import Catalog

sys.stdin.readline()
with Catalog.open(Path(sys.argv[1])) as catalog:
    result = catalog.add(
        [Path(sys.argv[2])],
        on_progress=lambda path, number, total: print("header", number, flush=True),
        on_hash=lambda path, done, total: print("file", flush=True),
    )
    assert not result.failed, result.failed
"""


def start(database: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ADD, str(database), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def counts(database: Path) -> set[int]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("adapter", "location", "report")
        }


def test_processes_that_add_at_once_all_succeed(tmp_path: Path) -> None:
    # One catalog that does not exist yet, folders of their own, and one that all share.
    database = tmp_path / "home" / "catalog.db"
    for seed in range(150):
        write_adapter(tmp_path / "loras" / str(seed % 3) / f"{seed}.safetensors", seed)
    folders = [tmp_path / "loras" / place for place in ("0", "1", "2", "")]
    processes = [start(database, folder) for folder in folders]
    for process in processes:
        go(process)
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert counts(database) == {150}
    with Catalog.open(database) as catalog:
        assert {record.name for record in catalog.adapters()} == {str(n) for n in range(150)}


def kill_after(database: Path, folder: Path, kind: str, count: int) -> None:
    """Add a folder in another process, and kill that when it has read so many headers, or files."""
    process = start(database, folder)
    go(process)
    assert process.stdout is not None
    for line in process.stdout:
        count -= line.startswith(kind)
        if count == 0:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_process_loses_one_batch_at_most(tmp_path: Path) -> None:
    database, folder = tmp_path / "catalog.db", tmp_path / "loras"
    count = 2 * INDEX_FILES + BATCH_FILES
    for seed in range(count):
        write_adapter(folder / f"{seed}.safetensors", seed)
    kill_after(database, folder, "header", INDEX_FILES + 40)
    (stored,) = counts(database)
    assert INDEX_FILES <= stored < count
    known = 0
    for read in (1, BATCH_FILES + 10):
        kill_after(database, folder, "file", read)
        assert counts(database) == {count}
        with Catalog.open(database) as catalog:
            whole = sum(not record.pending for record in catalog.adapters())
        # At most one batch was read and not yet stored.
        assert known + read - BATCH_FILES <= whole < count
        known = whole
    with Catalog.open(database) as catalog:
        result = catalog.add([folder])
        assert (len(result.known), len(result.added)) == (known, count - known)
        assert not any(record.pending for record in catalog.adapters())
    assert counts(database) == {count}


def test_reading_goes_on_while_another_writes(tmp_path: Path) -> None:
    database = tmp_path / "catalog.db"
    write_adapter(tmp_path / "loras" / "ink.safetensors", 1)
    with Catalog.open(database) as reader, Catalog.open(database) as writer:
        writer.add([tmp_path / "loras"])
        with writer._store.writing() as session:
            session.connection().exec_driver_sql("UPDATE adapter SET name = 'half done'")
            assert reader.resolve("ink").name == "ink"
        assert reader.adapters()[0].name == "half done"
