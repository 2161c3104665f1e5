"""Where a catalog lies, and whether that serves it: read-only places and folders of a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lorakit.catalog.doctor import Finding
from lorakit.db.store import Store

_MOUNTS = Path("/proc/self/mountinfo")
# SQLite's locks and shared memory are not to be relied on there: https://sqlite.org/useovernet.html
_NETWORK = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "davfs",
    "fuse.davfs2",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
}


def where_it_lies(store: Store) -> Iterator[Finding]:
    """What there is to know of the folder of the catalog; nothing for one behind a database URL."""
    path = store.target.path
    if path is None:
        return
    if not store.writable:
        yield Finding("place", f"{path} cannot be written; it is read as it stands", path=str(path))
    kind = network_kind(path, _mounts())
    if kind is not None:
        text = (
            f"{path} lies on a network folder ({kind}), where several programs at once are at risk"
        )
        yield Finding("place", text, path=str(path))
    if store.writable and store.read("PRAGMA journal_mode") == [("delete",)]:
        text = f"{path} cannot use write-ahead logging; writing waits for those who read"
        yield Finding("place", text, path=str(path))


def network_kind(path: Path, mounts: str) -> str | None:
    """The kind of network file system that `path` lies on, None for a disk of this computer.

    `mounts` is text as Linux's `/proc/self/mountinfo` has it (`man 5 proc_pid_mountinfo`).
    """
    real = Path(os.path.realpath(path))
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) < 5 or not rest:
            continue
        # Spaces and the like are written as octal numbers.
        named = parts[4].encode("latin-1").decode("unicode_escape").encode("latin-1")
        point = Path(os.fsdecode(named))
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ")[0]
    return kind if kind in _NETWORK else None


def _mounts() -> str:
    try:
        return _MOUNTS.read_text(encoding="latin-1")
    except OSError:
        return ""
