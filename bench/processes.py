"""Timing: of calls, and of whole processes with the memory they take."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

_MEASURE = """
import os, sys, time
started = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def lorakit_script() -> str:
    """The command `lorakit` of this environment."""
    return str(Path(sysconfig.get_path("scripts")) / "lorakit")


def run(words: Sequence[str], variables: Mapping[str, str]) -> tuple[float, int]:
    """Seconds that a process took, and the most memory in bytes; 0 where the system does not tell."""
    # A process has at least the memory that its parent had, so the parent is a small one.
    measured = [sys.executable, "-I", "-S", "-c", _MEASURE, *words]
    done = subprocess.run(measured, env=variables, capture_output=True, text=True, check=True)
    taken, peak = done.stdout.split()[-2:]
    return float(taken), int(peak)


def seconds(act: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def shown(times: Sequence[float]) -> str:
    """The median of some times, for people."""
    middle = median(times)
    return f"{middle:.2f} s" if middle >= 1 else f"{middle * 1e3:.1f} ms"


def most(times: Sequence[float]) -> str:
    """The longest of some times."""
    return shown([max(times)])
