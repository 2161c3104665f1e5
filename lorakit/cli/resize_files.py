"""Which files `lorakit resize` is to work on, and which of them cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import LorakitError, NotFound

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.stack import ResolvedEntry

Failed = list[tuple[Path, LorakitError]]


def find_all(catalog: Catalog, names: Sequence[str]) -> tuple[list[ResolvedEntry], Failed]:
    """Every adapter that NAMES mean, in folders, as files and in the catalog, and those that cannot be read.

    Raises `NotFound` for a folder without any, what `select_adapters` raises, and the error of a file that
    is the only one.
    """
    from lorakit.stack import Entry, resolve_stack

    found: list[ResolvedEntry] = []
    failed: Failed = []
    paths = list(dict.fromkeys(_paths(catalog, names)))
    for path in paths:
        try:
            found += resolve_stack([Entry(str(path))], catalog)
        except LorakitError as error:
            if len(paths) == 1:
                raise
            failed.append((path, error))
    return found, failed


def _paths(catalog: Catalog, names: Sequence[str]) -> Iterator[Path]:
    from lorakit.cli.options import looks_like_path, read_names
    from lorakit.cli.selecting import select_adapters
    from lorakit.paths import expanded

    words: list[str] = []
    for name in read_names(names):
        path = expanded(name)
        if path.is_dir():
            yield from _in_folder(path)
        elif looks_like_path(name):
            yield path
        else:
            words.append(name)
    if words:
        yield from (record.existing_path() for record in select_adapters(catalog, words))


def _in_folder(folder: Path) -> list[Path]:
    """The adapters that lie in a folder itself, and the files that are too damaged to tell."""
    found = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    adapters = [path for path in found if _may_be_adapter(path)]
    if not adapters:
        raise NotFound(f"There is no adapter in {folder}.")
    return adapters


def _may_be_adapter(path: Path) -> bool:
    from lorakit.formats.inspection import inspect

    try:
        return bool(inspect(path, hashes=False).modules)
    except LorakitError:
        return True
