import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from lorakit.db.models import Adapter
from lorakit.db.opening import APPLICATION_ID, parse_target
from lorakit.db.store import Store
from lorakit.errors import CatalogError


def open_store(path: Path) -> Store:
    return Store(parse_target(path))


def test_the_pragmas_are_really_set(tmp_path: Path) -> None:
    store = open_store(tmp_path / "c.db")
    with store.writing() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in (
                "journal_mode",
                "foreign_keys",
                "busy_timeout",
                "synchronous",
                "application_id",
            )
        }
    assert found == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "synchronous": 1,
        "application_id": APPLICATION_ID,
    }
    store.close()


def test_foreign_keys_and_strict_types_are_enforced(tmp_path: Path) -> None:
    store = open_store(tmp_path / "c.db")
    for statement in (
        "INSERT INTO report VALUES (7, '{}', '{}', x'00')",
        "INSERT INTO audit VALUES (1, x'00', 'a', 'b', '{}', '', 'h')",
        "INSERT INTO location VALUES (1, 1, 'p', 1, 1, 1, 1, 'lost', 't')",
    ):
        with pytest.raises(CatalogError), store.writing() as session:
            session.execute(text(statement))
    store.close()


def test_the_light_reader_cannot_write(tmp_path: Path) -> None:
    store = open_store(tmp_path / "c.db")
    with pytest.raises(CatalogError):
        store.read("DELETE FROM adapter")
    store.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "c.db")
    # The second row has the number of the first.
    with pytest.raises(CatalogError), store.writing() as session:
        session.execute(
            text("INSERT INTO audit VALUES (:id, 't', 'a', 'v', '{}', '', :hash)"),
            [{"id": 1, "hash": "a"}, {"id": 1, "hash": "b"}],
        )
    assert store.read("SELECT count(*) FROM audit") == [(0,)]
    store.close()


def test_writers_wait_for_each_other_even_when_they_read_first(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    open_store(path).close()
    ready, errors = threading.Barrier(4), []

    def read_then_write() -> None:
        store = open_store(path)
        ready.wait()
        try:
            for _ in range(10):
                with store.writing() as session:
                    count = session.execute(text("SELECT count(*) FROM audit")).scalar()
                    values = {"at": f"{count:04}"}
                    session.execute(
                        text("INSERT INTO audit VALUES (NULL, :at, 'a', 'v', '{}', '', :at)"),
                        values,
                    )
        except (CatalogError, OperationalError, IntegrityError) as error:
            errors.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=read_then_write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = open_store(path)
    assert store.read("SELECT at FROM audit ORDER BY id") == [(f"{n:04}",) for n in range(40)]
    store.close()


def test_a_lock_that_is_never_released_is_a_catalog_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorakit.db.engine._PRAGMAS", ("busy_timeout = 10",))
    first, second = open_store(tmp_path / "c.db"), open_store(tmp_path / "c.db")
    with first.writing() as session:
        session.execute(text("DELETE FROM audit"))
        with pytest.raises(CatalogError, match="in use") as caught, second.writing() as other:
            other.execute(text("DELETE FROM audit"))
    assert caught.value.hint is not None
    first.close()
    second.close()


@pytest.mark.parametrize(
    "name", ["c.db", "with space & ? # %41.db", "file:x.db", "絵.db", "quo'te\".db"]
)
def test_any_file_name_is_that_file(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / "new" / name)
    with store.writing() as session:
        assert session.query(Adapter).count() == 0
    store.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_urls(tmp_path: Path) -> None:
    assert parse_target(f"sqlite:///{tmp_path}/a.db").path == tmp_path / "a.db"
    assert parse_target(str(tmp_path / "a.db")).path == tmp_path / "a.db"
    assert parse_target("sqlite:///:memory:").path is None
    assert str(parse_target("postgresql://me:secret@host/db")) == "host/db"
