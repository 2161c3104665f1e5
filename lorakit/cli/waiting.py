"""Asking for folders that may lie on a server, which may be asleep, or gone for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorakit.catalog.paths import is_there
from lorakit.cli.output import warn

# A disk that has to start turning needs less.
_PATIENCE_S = 15.0
SOME_FOLDER = "A folder that adapters lie in"


@contextmanager
def patiently(what: str) -> Iterator[None]:
    """Say that `what` does not answer where what is done here takes long.

    Nothing can be done about it here: the system ends the wait as the folder is mounted, and until then some
    file systems take neither Ctrl-C nor a signal.
    """
    # Whoever reads files or opens the catalog needs it anyway.
    from threading import Timer

    timer = Timer(
        _PATIENCE_S, warn, (f"{what} does not answer, and is waited for. Is its server there?",)
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def answers(path: Path) -> bool:
    """Whether something is at `path`; says so when that takes long."""
    with patiently(str(path)):
        return is_there(path)
