"""The number that tells whether files or claims were written of."""

import sqlite3
from contextlib import closing

import pytest

from lorakit.db.counting import READ, count_write, counts


@pytest.mark.parametrize(
    ("statement", "files", "claims"),
    [
        ("INSERT INTO adapter (name) VALUES (?)", 1, 0),
        ("UPDATE location SET state=? WHERE path = ?", 1, 0),
        ('DELETE FROM "adapter" WHERE adapter.id = ?', 1, 0),
        ("INSERT OR IGNORE INTO claim (content) VALUES (?)", 0, 1),
        ("INSERT INTO report (adapter_id) VALUES (?)", 0, 0),
        ("UPDATE tag SET content = 'DELETE FROM adapter'", 0, 0),
        ("SELECT id FROM adapter", 0, 0),
    ],
)
def test_what_is_written_of_files_and_claims_is_counted(
    statement: str, files: int, claims: int
) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        count_write(connection, statement)
        assert counts(connection.execute(READ).fetchone()[0]) == (files, claims)


def test_a_count_that_is_full_begins_anew() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"{READ} = {2**31 - 1}")
        count_write(connection, "INSERT INTO adapter (name) VALUES (?)")
        count_write(connection, "INSERT INTO claim (content) VALUES (?)")
        assert counts(connection.execute(READ).fetchone()[0]) == (1, 0)
