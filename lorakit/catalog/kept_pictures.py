"""Pictures that were made with stacks kept by name, in `catalog.pictures.json` beside the catalog.

They are the person's own files, wherever those are: only where they were written is noted, and one that is
moved or deleted is no longer shown. A stack that is replaced has other pictures, by the hash of its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.catalog.paths import absolute
from lorakit.catalog.remembered import beside_catalog, load_beside, save_beside
from lorakit.paths import is_file

if TYPE_CHECKING:
    from lorakit.catalog.kept_stacks import KeptStackRecord
    from lorakit.db.store import Store

_KIND = "pictures"
_MOST = 50


def pictures_of(store: Store, stack: KeptStackRecord) -> list[Path]:
    """The pictures that were made with a kept stack as it is now and are still there, the latest first."""
    noted = _noted(store).get(_key(stack), [])
    return [Path(path) for path in reversed(noted) if is_file(Path(path))]


def note_pictures(store: Store, stack: KeptStackRecord, paths: Sequence[Path]) -> None:
    """Note that pictures were made with a kept stack; nothing where the catalog cannot be written."""
    if not paths or not store.writable:
        return
    noted = _noted(store)
    new = [str(absolute(path)) for path in paths]
    before = [path for path in noted.get(_key(stack), []) if path not in new]
    noted[_key(stack)] = [*before, *new][-_MOST:]
    path = beside_catalog(store.target, _KIND)
    save_beside(path, {"noted": datetime.now(UTC).isoformat(), "stacks": noted})


def _key(stack: KeptStackRecord) -> str:
    return sha256(stack.document.encode()).hexdigest()


def _noted(store: Store) -> dict[str, list[str]]:
    found: Any = load_beside(beside_catalog(store.target, _KIND)).get("stacks")
    if not isinstance(found, dict):
        return {}
    return {
        key: [path for path in paths if isinstance(path, str)]
        for key, paths in found.items()
        if isinstance(paths, list)
    }
