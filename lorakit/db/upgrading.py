"""Create a catalog's tables or bring them up to date, with Alembic.

A new catalog goes up the same ladder as an old one, so there is one way only in which a schema comes
about. Alembic costs a tenth of a second; this module is imported when there is something to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect, text

from lorakit.db.engine import WRITING
from lorakit.db.opening import APPLICATION_ID, is_current
from lorakit.errors import CatalogError


def upgrade(engine: Engine, path: Path | None) -> None:
    """Bring the database to the newest revision in one transaction.

    An SQLite file that holds anything is copied first, to `NAME.bak-REVISION-TIME` beside it. Raises
    `CatalogError` for a revision this program does not know, and SQLAlchemy's errors.
    """
    with engine.connect().execution_options(**WRITING) as connection:
        sqlite = engine.dialect.name == "sqlite"
        # Rebuilding a table drops the old one, which must not cascade; checked at the end.
        with _without_foreign_keys(connection), connection.begin():
            # Another process may have been quicker: only under the lock is the revision certain.
            revision = _revision(connection)
            if is_current(engine.url.database, revision):
                return
            if path is not None and inspect(connection).get_table_names():
                _back_up(path, revision)
            if sqlite:
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            command.upgrade(_config(connection), "head")
            if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise CatalogError(
                    f"Updating the catalog {engine.url.database} would break links between its rows; "
                    "nothing was changed.",
                    hint="Please report this, with the message above.",
                )


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite takes this pragma only outside a transaction, so it goes to the driver."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "lorakit.db:migrations")
    config.attributes["connection"] = connection
    return config


def _back_up(path: Path, revision: str | None) -> None:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = path.with_name(f"{path.name}.bak-{revision or 'none'}-{moment}")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
