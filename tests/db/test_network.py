"""A catalog on a network folder: no shared memory, and one warning to whoever writes."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from lorakit.db.opening import parse_target
from lorakit.db.store import Store


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of mounts that says that all lies on a network folder."""
    path = tmp_path / "mountinfo"
    path.write_text("1 0 0:5 / / rw - nfs4 nas:/x rw\n")
    monkeypatch.setattr("lorakit.mounts._TABLE", path)
    return path


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def write(store: Store) -> None:
    with store.writing() as session:
        session.execute(text("DELETE FROM tag"))


def test_it_is_kept_without_a_shared_log_and_said_once_to_who_writes(
    tmp_path: Path, table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.db"
    with caplog.at_level(logging.WARNING, logger="lorakit"):
        for _ in range(2):
            store = Store(parse_target(path))
            store.read("SELECT count(*) FROM adapter")
            store.close()
        assert caplog.records == []
        store = Store(parse_target(path))
        write(store)
        write(store)
        with store.writing() as session:
            assert session.execute(text("PRAGMA synchronous")).scalar() == 2
        store.close()
    assert mode(path) == "delete"
    assert [
        f"{path} lies on a network folder (nfs4)" in r.getMessage() for r in caplog.records
    ] == [True]


def test_one_that_came_there_gives_up_its_log_when_it_can(tmp_path: Path, table: Path) -> None:
    path, network = tmp_path / "c.db", table.read_bytes()
    table.write_bytes(b"")
    first = Store(parse_target(path))
    write(first)
    assert mode(path) == "wal"
    table.write_bytes(network)
    # While another has it open, it stays as it is, and is of use.
    second = Store(parse_target(path))
    write(second)
    assert mode(path) == "wal"
    first.close()
    second.close()
    Store(parse_target(path)).close()
    assert mode(path) == "delete"
    assert [one.name for one in tmp_path.glob("c.db*")] == ["c.db"]
    table.write_bytes(b"")
    Store(parse_target(path)).close()
    assert mode(path) == "wal"
