"""Covers: one picture an adapter, in the folder of lorakit's data.

A cover belongs to the tensors, whose hash is its name: so it stays when the file is renamed or moved, or
its header is edited, and the picture itself says how it was made.
"""

from __future__ import annotations

from pathlib import Path

from lorakit.catalog.home import home_folder

FOLDER = "covers"


def cover_path(tensor_sha256: str) -> Path:
    """Where the cover of the adapter with these tensors belongs; it need not be there."""
    return home_folder() / FOLDER / f"{tensor_sha256}.png"


def existing_cover(tensor_sha256: str) -> Path | None:
    """The adapter's cover, where it has one."""
    path = cover_path(tensor_sha256)
    return path if path.is_file() else None


def all_covers() -> dict[str, Path]:
    """Every cover by the hash of its adapter's tensors."""
    return {path.stem: path for path in (home_folder() / FOLDER).glob("*.png")}
