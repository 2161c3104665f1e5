import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from lorakit.db.curation import Change
from lorakit.db.engine import make_engine
from lorakit.db.models import Table
from lorakit.db.opening import parse_target
from lorakit.db.revisions import REVISIONS
from lorakit.db.store import Store


def migrated(path: Path) -> Engine:
    Store(parse_target(path)).close()
    return make_engine(path)


def schema(engine: Engine) -> dict[str, str]:
    """Each table and index with its definition, spaces made even. Models know of no triggers."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND type != 'trigger'"
            )
        ).all()
    return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    by_migration = migrated(tmp_path / "migrated.db")
    by_models = make_engine(tmp_path / "models.db")
    assert Change.metadata is Table.metadata
    Table.metadata.create_all(by_models)
    assert schema(by_migration) == schema(by_models)
    with by_migration.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []
    by_migration.dispose()
    by_models.dispose()


def test_every_table_is_strict_and_every_constraint_has_a_name(tmp_path: Path) -> None:
    engine = migrated(tmp_path / "c.db")
    tables = {name: sql for name, sql in schema(engine).items() if sql.startswith("CREATE TABLE")}
    engine.dispose()
    assert set(tables) == {
        "adapter",
        "report",
        "location",
        "base",
        "audit",
        "claim",
        "comparison",
        "sketch",
        "vote",
        "fact",
        "tag",
        "collection",
        "member",
        "kept_stack",
        "step",
        "change",
    }
    for sql in tables.values():
        assert sql.endswith("STRICT")
        # SQLite has no other spelling for numbers that are never given twice.
        sql = sql.replace("PRIMARY KEY AUTOINCREMENT", "")
        for kind in ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY", "CHECK"):
            assert all("CONSTRAINT" in line for line in sql.split(", ") if kind in line)


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", "lorakit.db:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_rows_are_found_by_index(tmp_path: Path) -> None:
    Store(parse_target(tmp_path / "c.db")).close()
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        for where in (
            "adapter WHERE file_sha256 = 'x'",
            "adapter WHERE tensor_sha256 = 'x'",
            "adapter WHERE name >= 'x' AND name < 'y'",
            "location WHERE path >= 'x' AND path < 'y'",
            "location WHERE adapter_id = 1",
            "comparison WHERE name >= 'x' AND name < 'y'",
            "vote WHERE comparison_id = 1",
        ):
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {where}").fetchall()
            assert plan[3].startswith("SEARCH"), where
