"""Which files are opened, which are refused, and that a refused file is left as it is."""

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lorakit.db import opening
from lorakit.db.opening import APPLICATION_ID, parse_target
from lorakit.db.store import Store
from lorakit.errors import CatalogError


def make_text(path: Path) -> None:
    path.write_text("a shopping list, long enough to be no accident: " * 10)


def make_short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE adapter (mine)")


def make_newer(path: Path) -> None:
    Store(parse_target(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_text, "not a database"),
        (make_short, "not a database"),
        (make_foreign, "another program"),
        (make_newer, "newer lorakit"),
    ],
)
def test_refused_files_stay_as_they_are(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "c.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=words) as caught:
        Store(parse_target(path))
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError):
        Store(parse_target(tmp_path))


def test_a_damaged_catalog_is_a_catalog_error(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    Store(parse_target(path)).close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)
    with pytest.raises(CatalogError) as caught, closing(Store(parse_target(path))) as store:
        store.read("SELECT * FROM adapter")
    assert ".bak-" in str(caught.value.hint)


def test_an_empty_file_becomes_a_catalog(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    path.touch()
    store = Store(parse_target(path))
    assert store.read("SELECT count(*) FROM adapter") == [(0,)]
    store.close()
    # Nothing was in it, so there is nothing to keep a copy of.
    assert list(tmp_path.iterdir()) == [path]


def make_old(path: Path) -> None:
    """Ours, from before the first migration, with something in it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"PRAGMA application_id = {APPLICATION_ID};"
            "CREATE TABLE keepsake (word TEXT); INSERT INTO keepsake VALUES ('dear');"
        )


def test_an_older_catalog_is_copied_and_updated(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    make_old(path)
    store = Store(parse_target(path))
    assert store.read("SELECT word FROM keepsake") == [("dear",)]
    assert store.read("SELECT count(*) FROM adapter") == [(0,)]
    store.close()
    (copy,) = tmp_path.glob("c.db.bak-none-*")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("keepsake",)]
        assert connection.execute("SELECT word FROM keepsake").fetchall() == [("dear",)]
    Store(parse_target(path)).close()
    assert len(list(tmp_path.glob("c.db.bak-*"))) == 1


def test_a_failed_update_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    make_old(path)
    with closing(sqlite3.connect(path)) as connection:
        # The last table of the first migration is in its way.
        connection.execute("CREATE TABLE audit (mine TEXT)")
    with pytest.raises(CatalogError, match="audit"):
        Store(parse_target(path))
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        assert set(tables.fetchall()) == {("keepsake",), ("audit",)}


def test_where_wal_is_refused_it_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class NoSharedMemory(sqlite3.Connection):
        """A file system without shared memory: SQLite answers with the mode it keeps."""

        def execute(self, sql: str, *rest: object) -> sqlite3.Cursor:
            return super().execute(sql.replace("= WAL", "= DELETE"), *rest)  # type: ignore[arg-type]

    real = opening._connect

    def connect(uri: str) -> sqlite3.Connection:
        real(uri).close()
        return sqlite3.connect(uri, uri=True, factory=NoSharedMemory, isolation_level=None)

    monkeypatch.setattr(opening, "_connect", connect)
    with caplog.at_level(logging.WARNING, logger="lorakit"):
        store = Store(parse_target(tmp_path / "c.db"))
    assert store.read("PRAGMA journal_mode") == [("delete",)]
    with store.writing():
        pass
    store.close()
    assert [record.name for record in caplog.records] == ["lorakit"]
    assert "write-ahead" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to drop root")
def test_a_catalog_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from lorakit.catalog import Catalog\n"
        "import lorakit.catalog.catalog, sqlalchemy.orm, sqlalchemy.dialects.sqlite\n"
        "import lorakit.db.models, lorakit.db.engine\n"
        "os.setuid(65534)\n"
        "catalog = Catalog.open(sys.argv[1])\n"
        "print(catalog.adapters())\n"
        "try: catalog.record_decision('a', 'b', {})\n"
        "except Exception as error: print(type(error).__name__, error.hint)\n"
    )
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.db")
        Store(parse_target(path)).close()
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[]\nUnwritableCatalog Check the permissions")
    assert done.stderr.count("cannot be written") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="locks there belong to the handle")
def test_opening_never_costs_a_process_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    first = Store(parse_target(path))
    first.read("SELECT count(*) FROM adapter")
    second = Store(parse_target(path))
    log = path.with_name("c.db-wal")
    assert log.exists()
    # Whoever closes a database last takes the log away, and asks the locks who is last.
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM audit'); c.close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert log.exists()
    second.close()
    first.close()
