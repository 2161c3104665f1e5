"""The audit is a chain: whatever is changed or taken out of it is noticed, and its place named."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command

from lorakit.catalog import Catalog
from lorakit.catalog.audit import add_decision, chain_hash
from lorakit.db.engine import make_engine
from lorakit.db.opening import APPLICATION_ID
from lorakit.db.upgrading import _config
from lorakit.errors import CatalogError

COUNT = 5


@pytest.fixture
def path(catalog: Catalog, tmp_path: Path) -> Path:
    """A catalog with some decisions in it."""
    for number in range(1, COUNT + 1):
        catalog.record_decision("export", "allowed", {"stack": f"ink:{number}", "why": "é\n"})
    return tmp_path / "home" / "catalog.db"


@contextmanager
def opened(path: Path, *, triggers: bool = False) -> Iterator[sqlite3.Connection]:
    """The database as any other program sees it, with nothing in the way of an edit."""
    with closing(sqlite3.connect(path)) as connection, connection:
        if not triggers:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        yield connection


def edit(path: Path, *statements: str) -> None:
    with opened(path) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_chain_that_nobody_touched_is_whole(catalog: Catalog, path: Path) -> None:
    check = catalog.check_audit()
    assert (check.count, check.broken, check.reason) == (COUNT, None, None)
    assert check.head == catalog.decisions()[-1].hash


def test_an_audit_without_decisions_is_whole(catalog: Catalog) -> None:
    check = catalog.check_audit()
    assert (check.count, check.head, check.broken) == (0, "", None)


@pytest.mark.parametrize("statement", ["UPDATE audit SET verdict = 'x'", "DELETE FROM audit"])
def test_the_database_itself_refuses_edits(path: Path, statement: str) -> None:
    with (
        pytest.raises(sqlite3.IntegrityError, match="only ever added to"),
        opened(path, triggers=True) as connection,
    ):
        connection.execute(statement)


# What is done to the database, the first decision that is not as written, and what is said of it.
EDITS = {
    "a verdict": (["UPDATE audit SET verdict = 'refused' WHERE id = 3"], 3, "was changed"),
    "a time": (["UPDATE audit SET at = '2020-01-01T00:00:00.000000Z' WHERE id = 1"], 1, "changed"),
    "an action": (["UPDATE audit SET action = 'other' WHERE id = 5"], 5, "was changed"),
    "a subject": (["UPDATE audit SET subject = '{}' WHERE id = 2"], 2, "was changed"),
    "a hash": (
        ["UPDATE audit SET hash = 'f' || substr(hash, 2) || 'f' WHERE id = 4"],
        4,
        "changed",
    ),
    "a link": (["UPDATE audit SET previous = '' WHERE id = 4"], 4, "does not follow"),
    "one in the middle": (["DELETE FROM audit WHERE id = 3"], 3, "decision 3 is gone"),
    "the first two": (["DELETE FROM audit WHERE id < 3"], 1, "decisions 1 to 2 are gone"),
    "the last": (["DELETE FROM audit WHERE id = 5"], 5, "decision 5 is gone from the end"),
    "the last three": (["DELETE FROM audit WHERE id > 2"], 3, "decisions 3 to 5 are gone"),
    "all": (["DELETE FROM audit"], 1, "decisions 1 to 5 are gone"),
    "the last, and the count put back": (
        ["DELETE FROM audit WHERE id = 5", "DELETE FROM sqlite_sequence WHERE name = 'audit'"],
        5,
        "the count of decisions says 0",
    ),
    "one, and the rest moved up": (
        ["DELETE FROM audit WHERE id = 2", "UPDATE audit SET id = id - 1 WHERE id > 2"],
        2,
        "does not follow",
    ),
    "two in each other's place": (
        [
            "UPDATE audit SET id = 99 WHERE id = 2",
            "UPDATE audit SET id = 2 WHERE id = 3",
            "UPDATE audit SET id = 3 WHERE id = 99",
        ],
        2,
        "does not follow",
    ),
}


@pytest.mark.parametrize(("statements", "first", "words"), EDITS.values(), ids=list(EDITS))
def test_an_edit_is_noticed_and_its_place_named(
    catalog: Catalog, path: Path, statements: list[str], first: int, words: str
) -> None:
    edit(path, *statements)
    check = catalog.check_audit()
    assert check.broken == first
    assert words in str(check.reason)


def test_a_decision_of_ones_own_with_a_matching_hash_is_noticed_by_its_number(
    catalog: Catalog, path: Path
) -> None:
    with opened(path) as connection:
        (last,) = connection.execute("SELECT hash FROM audit WHERE id = 4").fetchone()
        connection.execute("DELETE FROM audit WHERE id = 5")
        values = ("2026-01-01T00:00:00.000000Z", "export", "allowed", "{}")
        connection.execute(
            "INSERT INTO audit (at, action, verdict, subject, previous, hash) VALUES (?,?,?,?,?,?)",
            (*values, last, chain_hash(last, *values)),
        )
    assert catalog.check_audit().broken == 5


def test_a_decision_after_an_edit_does_not_mend_the_chain(catalog: Catalog, path: Path) -> None:
    edit(path, "UPDATE audit SET subject = '{}' WHERE id = 5")
    catalog.record_decision("export", "allowed", {})
    assert catalog.check_audit().broken == 5


def test_a_decision_that_cannot_be_read_is_an_error_that_says_so(
    catalog: Catalog, path: Path
) -> None:
    edit(path, "UPDATE audit SET subject = '{' WHERE id = 2")
    with pytest.raises(CatalogError, match=r"Decision 2 .* cannot be read") as caught:
        catalog.decisions()
    assert "--verify" in str(caught.value.hint)
    assert catalog.check_audit().broken == 2


def test_a_transaction_that_fails_leaves_no_gap(catalog: Catalog, path: Path) -> None:
    def fail() -> None:
        with catalog._store.writing() as session:
            add_decision(session, "export", "allowed", {})
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    catalog.record_decision("export", "allowed", {})
    check = catalog.check_audit()
    assert (check.count, check.broken) == (COUNT + 1, None)


WRITER = """
import sys
from pathlib import Path
from lorakit.catalog import Catalog

with Catalog.open(Path(sys.argv[1])) as catalog:
    sys.stdin.readline()
    for number in range(40):
        catalog.record_decision("export", sys.argv[2], {"number": number})
        assert catalog.check_audit().broken is None
"""


def test_processes_that_decide_at_once_keep_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Catalog.open(path).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name], stdin=subprocess.PIPE, text=True
        )
        for name in ("one", "other")
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Catalog.open(path) as catalog:
        check, decisions = catalog.check_audit(), catalog.decisions()
    assert (check.count, check.broken) == (80, None)
    for name in ("one", "other"):
        numbers = [d.subject["number"] for d in decisions if d.verdict == name]
        assert numbers == list(range(40))


def test_decisions_from_before_the_chain_are_kept_and_chained(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    engine = make_engine(path)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        command.upgrade(_config(connection), "0002")
        for number in (1, 2):
            connection.exec_driver_sql(
                "INSERT INTO audit (at, action, verdict, subject) VALUES (?, 'export', 'refused', ?)",
                (f"2026-01-0{number}T00:00:00.000000Z", f'{{"number": {number}}}'),
            )
    engine.dispose()
    with Catalog.open(path) as catalog:
        assert catalog.check_audit().broken is None
        catalog.record_decision("export", "allowed", {"number": 3})
        check, decisions = catalog.check_audit(), catalog.decisions()
    assert [d.subject["number"] for d in decisions] == [1, 2, 3]
    assert (decisions[0].at.year, decisions[0].verdict) == (2026, "refused")
    assert (check.count, check.broken, check.head) == (3, None, decisions[-1].hash)
    edit(path, "UPDATE audit SET verdict = 'allowed' WHERE id = 1")
    with Catalog.open(path) as catalog:
        assert catalog.check_audit().broken == 1
