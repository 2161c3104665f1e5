"""A browser for all tests of pages, a page to open in it, and a collection to show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from tests.report.browser import CHROMIUM, Page, open_browser
from tests.report.galleries import add_collection


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Headless Chromium; tests that need it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """The collection of `tests.report.galleries`."""
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "home"))
    with Catalog.open() as opened:
        add_collection(opened, tmp_path / "loras")
        yield opened
