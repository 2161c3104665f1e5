"""Run every benchmark that fits this machine, and say which do not and why."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from bench import catalog, catalog_relatives, demo, fuse_cpu, preview, startup, trace, workshop
from bench.machine import free_memory, installed
from bench.tables import Section, command_line

Benchmark = tuple[str, Callable[[], str | None], Callable[[], Section]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown section for each benchmark, or the reason why it was left out."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--dir", type=Path, help="keep the large files here and use them again")
    parser.add_argument("--diffusers", action="store_true", help="time diffusers' fusing too")
    options = parser.parse_args(arguments)
    for title, obstacle, measure in _benchmarks(options.dir, options.diffusers):
        reason = obstacle()
        print(f"## {title}\n\nLeft out: {reason}" if reason else measure().markdown(), flush=True)
        print(flush=True)


def _benchmarks(folder: Path | None, diffusers: bool) -> list[Benchmark]:
    return [
        ("Start-up", lambda: None, startup.measure),
        ("Demo", _demo_obstacle, demo.measure),
        ("Previews on a CPU", preview.obstacle, preview.measure),
        (
            "Fusing on a CPU",
            partial(_fuse_obstacle, folder or Path(gettempdir()), diffusers),
            partial(fuse_cpu.measure, folder=folder, diffusers=diffusers),
        ),
        (
            "Workshop",
            partial(_workshop_obstacle, folder or Path(gettempdir())),
            partial(workshop.measure, folder=folder),
        ),
        (
            f"A catalog of {catalog.COUNTS[0]:,} adapters",
            lambda: None,
            catalog.measure,
        ),
        (
            f"Relatives and a gallery of {catalog_relatives.ADAPTERS:,} adapters",
            partial(_shortage, Path(gettempdir()), 0, catalog_relatives.DISK_BYTES),
            catalog_relatives.measure,
        ),
        *_trace_benchmarks(),
    ]


def _trace_benchmarks() -> list[Benchmark]:
    """Recognition, with fewer worlds and siblings than the figures in docs/benchmarks.md come from."""
    seeds, siblings = trace.SEEDS, trace.SIBLINGS
    command = command_line("trace", siblings=siblings, seeds=seeds)
    return [
        (
            "Recognising an RDBT-like change",
            lambda: None,
            partial(trace.found_section, seeds, command),
        ),
        ("The change in adapters", lambda: None, partial(trace.adapters_section, seeds, command)),
        (
            "False alarms in siblings built without it",
            lambda: None,
            partial(trace.alarms_section, siblings, command),
        ),
    ]


def _demo_obstacle() -> str | None:
    needed = ("diffusers", "transformers", "accelerate", "pillow")
    absent = [name for name in needed if installed(name) is None]
    return f"the preview extra is not installed ({', '.join(absent)})." if absent else None


def _fuse_obstacle(folder: Path, diffusers: bool) -> str | None:
    needed = fuse_cpu.DIFFUSERS_MEMORY_BYTES if diffusers else fuse_cpu.MEMORY_BYTES
    short = _shortage(folder, needed, fuse_cpu.DISK_BYTES)
    if short:
        return short
    if diffusers and (installed("diffusers") is None or installed("peft") is None):
        return "diffusers or peft is not installed."
    return None


def _workshop_obstacle(folder: Path) -> str | None:
    return _shortage(folder, workshop.MEMORY_BYTES, workshop.DISK_BYTES)


def _shortage(folder: Path, memory_bytes: int, disk_bytes: int) -> str | None:
    """What is lacking of memory, or of disk where `folder` lies."""
    memory = free_memory()
    if memory is not None and memory < memory_bytes:
        return f"it needs {memory_bytes / 1e9:.0f} GB of free memory, and {memory / 1e9:.1f} GB are free."
    # The folder may not be there yet; the nearest one that is lies on the same disk.
    there = next(parent for parent in (folder.absolute() / "-").parents if parent.is_dir())
    disk = shutil.disk_usage(there).free
    if disk < disk_bytes:
        return f"it needs {disk_bytes / 1e9:.1f} GB of disk, and {disk / 1e9:.1f} GB are free."
    return None


if __name__ == "__main__":
    main()
