"""Opening the user's catalog, and finding files through it."""

from __future__ import annotations

from pathlib import Path

from lorakit.catalog import Catalog


def open_catalog() -> Catalog:
    """The user's catalog, in LORAKIT_HOME or the platform's data folder."""
    return Catalog.open()


def adapter_path(catalog: Catalog, name: str) -> Path:
    """The file of a catalogued adapter. Raises `NotFound` for a name or a file that is not there."""
    return catalog.resolve(name).existing_path()
