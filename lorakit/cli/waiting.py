"""Asking for folders that may lie on a server, which may be asleep, or gone for good."""

from __future__ import annotations

from pathlib import Path

from lorakit.catalog.paths import is_there
from lorakit.cli.output import warn

# A disk that has to start turning needs less.
_PATIENCE_S = 15.0


def answers(path: Path) -> bool:
    """Whether something is at `path`; says so when that takes long.

    Nothing can be done about it here: the system ends the wait as the folder is mounted, and until then some
    file systems take neither Ctrl-C nor a signal.
    """
    # Whoever reads files needs it anyway.
    from threading import Timer

    text = f"{path} does not answer, and is waited for. Is its server there?"
    timer = Timer(_PATIENCE_S, warn, (text,))
    timer.daemon = True
    timer.start()
    try:
        return is_there(path)
    finally:
        timer.cancel()
