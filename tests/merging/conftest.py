from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.stack import ResolvedEntry, Stack, resolve_stack


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog without adapters, of which these tests name files."""
    with Catalog.open(tmp_path_factory.mktemp("catalog") / "catalog.db") as opened:
        yield opened


def entry(path: Path, strength: str = "1") -> ResolvedEntry:
    """The adapter at `path`."""
    (found,) = resolve_stack(Stack.parse(f'"{path}":{strength}'), None)
    return found
