import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorakit.catalog import Catalog, home_folder
from lorakit.errors import CatalogError


def test_the_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "elsewhere"))
    assert home_folder() == tmp_path / "elsewhere"
    Catalog.open().close()
    assert (tmp_path / "elsewhere" / "catalog.db").is_file()


def test_without_it_the_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORAKIT_HOME", raising=False)
    assert home_folder().name == "lorakit"


def test_a_home_that_is_a_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "file"))
    with pytest.raises(CatalogError):
        Catalog.open()


@pytest.mark.parametrize("url", ["nosuch://x", "sqlite:///{}?timeout=1", "postgresql+none://h"])
def test_bad_urls_are_catalog_errors(tmp_path: Path, url: str) -> None:
    with pytest.raises(CatalogError):
        Catalog.open(url.format(tmp_path / "no" / "folder"))


def modules_after(code: str, home: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env={**os.environ, "LORAKIT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_reading_needs_no_database_library(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "catalog.db").close()
    code = (
        "from lorakit.catalog import Catalog\n"
        "with Catalog.open() as c: c.adapters(); c.bases(); c.decisions()\n"
    )
    loaded = modules_after(code, tmp_path)
    assert not loaded & {"alembic", "sqlalchemy", "torch", "numpy", "lorakit.formats.inspection"}


def test_writing_to_a_current_catalog_needs_no_migrations(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "catalog.db").close()
    code = (
        "from lorakit.catalog import Catalog\n"
        "with Catalog.open() as c: c.record_decision('a', 'b', {})\n"
    )
    loaded = modules_after(code, tmp_path)
    assert "sqlalchemy" in loaded
    assert "alembic" not in loaded


def test_the_home_folder_alone_is_light(tmp_path: Path) -> None:
    loaded = modules_after("from lorakit.catalog import home_folder; home_folder()", tmp_path)
    assert not loaded & {"sqlalchemy", "sqlite3", "platformdirs", "lorakit.db.store"}
