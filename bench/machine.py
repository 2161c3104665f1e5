"""What this machine is, in one line that says nothing of whose it is."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "diffusers", "peft")


def describe() -> str:
    """CPU, cores, memory, GPU, system, Python and the packages that matter."""
    memory = total_memory()
    parts = [
        f"{cpu_model()}, {usable_cores()} cores",
        f"{memory / 2**30:.0f} GiB" if memory else "memory unknown",
        gpu() or "no GPU",
        platform.system(),
        f"Python {platform.python_version()}",
        *(f"{name} {found}" for name in _PACKAGES if (found := installed(name))),
    ]
    return "; ".join(parts)


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int | None:
    """Bytes of memory, None where the system does not tell."""
    return _pages("SC_PHYS_PAGES")


def free_memory() -> int | None:
    """Bytes that a process can still get, None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return total_memory()
    found = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else total_memory()


def gpu() -> str | None:
    """The first NVIDIA GPU's name and memory, None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    words = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout else None


def installed(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
