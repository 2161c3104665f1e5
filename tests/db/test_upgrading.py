"""Catalogs of every released version, with rows in every table, are brought up to date with nothing lost."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from lorakit.catalog import Catalog
from lorakit.db.engine import make_engine
from lorakit.db.opening import APPLICATION_ID
from lorakit.db.revisions import HEAD, REVISIONS

# What a column takes that is not simply a text or a number.
MOMENT = "2026-01-31T09:30:00.000000Z"
VALUES: dict[str, Any] = {
    "state": "present",
    "choice": "first",
    "kind": "adapter",
    "adapter_id": 1,
    "comparison_id": 1,
    "step_id": 1,
    "value": '"Ein Hügel"',
    "terms": '{"share_merges":"deny"}',
    "trigger_words": '["@ink"]',
    "components": '["dit"]',
    "origin": "user",
    "source": "user",
    "field": "notes",
    "query": None,
    "sides": "[{},{}]",
    "pairs": '[["p",1]]',
    "before": None,
    "after": None,
    "undoes": None,
    "undone_by": None,
    "seen_at": MOMENT,
    "subject": "{}",
}


def made_at(path: Path, revision: str) -> dict[str, list[dict[str, Any]]]:
    """Make a catalog as it was at `revision`, with a row in each table; what is in it, by table."""
    engine = make_engine(path)
    with engine.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", "lorakit.db:migrations")
        config.attributes["connection"] = connection
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA foreign_keys = OFF")
        for table in tables(database):
            columns = database.execute(f"PRAGMA table_info({table})").fetchall()
            values = [value_for(name, kind) for _, name, kind, *_ in columns]
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO {table} VALUES ({marks})", values)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    return rows(path)


def value_for(name: str, kind: str) -> object:
    if name in VALUES:
        return VALUES[name]
    if name == "at" or name.endswith("_at"):
        return MOMENT
    return {"INTEGER": 1, "TEXT": f"the {name}", "BLOB": b"\x00\xff"}[kind]


def tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        "AND name != 'alembic_version' ORDER BY name"
    )
    return [name for (name,) in found.fetchall()]


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}").fetchall()]
            for table in tables(connection)
        }


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_row_of_an_older_catalog_is_kept(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "catalog.db"
    before = made_at(path, revision)
    assert all(len(found) == 1 for found in before.values())
    with Catalog.open(path) as catalog:
        (record,) = catalog.adapters()
        assert record.name == "the name"
        assert record.trigger_words == ("@ink",)
        # What is said of it is written and read in the tables as they are now.
        catalog.tag([record.tensor_sha256], add=["fine"])
        assert "fine" in catalog.tags(record.tensor_sha256)
        catalog.undo()
    after = rows(path)
    assert version(path) == HEAD
    for table in ("step", "change"):
        # What was just done, and undone.
        after[table] = [row for row in after[table] if row.get("command") == "the command"] or [
            row for row in after[table] if row.get("table_name") == "the table_name"
        ]
    for table, (row,) in before.items():
        (now,) = after[table]
        # A column that was added holds nothing; those that were there hold what they held.
        assert {name: now[name] for name in row} == row
    copies = list(tmp_path.glob("catalog.db.bak-*"))
    assert len(copies) == (revision != HEAD)
    for copy in copies:
        assert f".bak-{revision}-" in copy.name
        assert (version(copy), rows(copy)) == (revision, before)


def test_what_people_say_since_it_was_possible_is_kept(tmp_path: Path) -> None:
    before = made_at(tmp_path / "catalog.db", "0004")
    assert {"fact", "tag", "collection", "member", "kept_stack", "step", "change"} <= set(before)
    with Catalog.open(tmp_path / "catalog.db") as catalog:
        (fact,) = catalog.facts("the content")["notes"]
        assert (fact.value, fact.source, fact.place) == ("Ein Hügel", "user", "the place")
        assert catalog.tags("the content") == ("the tag",)
        assert [one.name for one in catalog.collections()] == ["the name"]
        assert catalog.kept_stacks()[0].document == "the document"
        assert catalog.steps()[0].command == "the command"
