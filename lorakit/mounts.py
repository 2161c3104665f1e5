"""What kind of file system a path lies on, and what may be relied on there.

Linux tells it in a table; where there is none, every place counts as a disk of this computer.
"""

from __future__ import annotations

import os
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
# SQLite's locks and shared memory are not to be relied on there: https://sqlite.org/useovernet.html
_NETWORK = {
    "9p",
    "afs",
    "ceph",
    "cifs",
    "davfs",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "fuse.blobfuse",
    "fuse.ceph-fuse",
    "fuse.curlftpfs",
    "fuse.davfs2",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.gvfsd-fuse",
    "fuse.juicefs",
    "fuse.kio-fuse",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
}
# These number their files as they come to be asked for, or may do so (`noserverino` of cifs).
_NUMBERED_ANEW = {"9p", "cifs", "davfs", "exfat", "msdos", "smb3", "smbfs", "vboxsf", "vfat"}
_FUSE = "fuse"


def file_system(path: str | Path, table: bytes | None = None) -> str | None:
    """The kind of file system that `path` lies on, such as "ext4"; None where it cannot be told.

    `table` is as Linux's `/proc/self/mountinfo` (`man 5 proc_pid_mountinfo`), this computer's where it is
    left out.
    """
    real = os.fsencode(os.path.realpath(path))
    best, kind = -1, None
    for line in (_table() if table is None else table).splitlines():
        fields, _, rest = line.partition(b" - ")
        parts = fields.split(b" ")
        if len(parts) < 5 or not rest:
            continue
        point = _unescaped(parts[4]).rstrip(b"/")
        # Of several at one point, the last hides those before.
        if len(point) >= best and (real == point or real.startswith(point + b"/")):
            best, kind = len(point), os.fsdecode(rest.split(b" ")[0])
    return kind


def network_kind(path: str | Path, table: bytes | None = None) -> str | None:
    """The kind of network file system that `path` lies on, None for a disk of this computer."""
    kind = file_system(path, table)
    return kind if kind in _NETWORK else None


def numbers_last(path: str | Path, table: bytes | None = None) -> bool:
    """Whether the file at `path` has the same inode number as long as it is the same file.

    Where it has not, the number is another after the next mount, or is another file's.
    """
    kind = file_system(path, table)
    return kind is None or not (kind in _NUMBERED_ANEW or kind.startswith(_FUSE))


def _unescaped(name: bytes) -> bytes:
    """Spaces and the like are written as a backslash and three octal digits."""
    first, *others = name.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in others)


def _table() -> bytes:
    try:
        return _TABLE.read_bytes()
    except OSError:
        return b""
