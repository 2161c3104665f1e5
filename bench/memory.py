"""The most memory a piece of work takes, told apart from the files it has mapped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_SECONDS = 0.005


@dataclass
class Peak:
    """Bytes at the start and at the most: own memory, and all resident memory with mapped files.

    Zero where the system does not tell (only Linux does).
    """

    before: int = 0
    own: int = 0
    resident: int = 0

    @property
    def added(self) -> int:
        """What the work took beyond what was there before it."""
        return self.own - self.before


@contextmanager
def watch() -> Iterator[Peak]:
    """Sample this process's memory every few milliseconds while the block runs."""
    peak = Peak(before=_read()[0])
    done = threading.Event()
    thread = threading.Thread(target=_sample, args=(peak, done), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _sample(peak: Peak, done: threading.Event) -> None:
    while True:
        own, resident = _read()
        peak.own, peak.resident = max(peak.own, own), max(peak.resident, resident)
        if done.wait(_SECONDS):
            return


def _read() -> tuple[int, int]:
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in text.splitlines())
    own, resident = (int(found.get(name, "0").split()[0]) for name in ("RssAnon", "VmRSS"))
    return own * 1024, resident * 1024
