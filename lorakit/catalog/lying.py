"""Where a catalog lies, and whether that serves it: read-only places and folders of a network."""

from __future__ import annotations

from collections.abc import Iterator

from lorakit.catalog.doctor import Finding
from lorakit.db.store import Store
from lorakit.mounts import network_kind


def where_it_lies(store: Store) -> Iterator[Finding]:
    """What there is to know of the folder of the catalog; nothing for one behind a database URL."""
    path = store.target.path
    if path is None:
        return
    if not store.writable:
        yield Finding("place", f"{path} cannot be written; it is read as it stands", path=str(path))
    kind = network_kind(path)
    if kind is not None:
        text = (
            f"{path} lies on a network folder ({kind}), where several computers at once are at risk"
        )
        yield Finding("place", text, path=str(path))
    elif store.writable and store.read("PRAGMA journal_mode") == [("delete",)]:
        text = f"{path} cannot use write-ahead logging; writing waits for those who read"
        yield Finding("place", text, path=str(path))
