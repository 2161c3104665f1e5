"""Adapters whose header was read and whose file was not: known for the time being, by no content.

In place of the hashes they have a text that is no hash, so nothing that is said of a content can be of
them, and nothing may be said of one. The text follows from the file, so the same file gets the same again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lorakit.errors import CatalogError

if TYPE_CHECKING:
    from lorakit.catalog.scanning import FoundFile

PREFIX = "pending:"


def instead_of_hash(file: FoundFile) -> str:
    """What stands in place of the hashes of `file` until it is read whole."""
    # Lists need none of it.
    from hashlib import sha256

    one = file.fingerprint
    told = f"{file.path}\0{one.size}\0{one.mtime_ns}\0{one.inode}"
    return PREFIX + sha256(told.encode()).hexdigest()[:32]


def is_pending(content: str) -> bool:
    """Whether this is no content and no hash, but stands in place of one."""
    return content.startswith(PREFIX)


def require_known(contents: Iterable[str]) -> None:
    """Raise `CatalogError` where one of `contents` is not known yet: nothing can be kept of it."""
    if any(map(is_pending, contents)):
        raise CatalogError(
            "The file was not read whole yet, so nothing can be said of what it holds.",
            hint="Attach its drive if it is away, then run `lorakit scan`.",
        )
