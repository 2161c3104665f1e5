"""Paths as people type them; nothing here raises for a strange one."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(name: str | Path) -> Path:
    """`name` with a leading ~ replaced; the ~ of an unknown user stays."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 (Path's own raises)


def is_file(path: Path) -> bool:
    """Whether a file is there; a name too long or odd for the file system is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
