"""Fusing on a CPU: three kohya adapters into a full-size base, and diffusers on the same if asked."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.files import write_adapter, write_base
from bench.fuse_parts import (
    STACK,
    WORKERS,
    Result,
    adapter_file,
    base_file,
    diffusers_adapter_file,
)
from bench.tables import Section, command_line, say

RUNS = 5
TARGET_RATIO = 25
DISK_BYTES = 5_500_000_000
MEMORY_BYTES = 10_000_000_000
DIFFUSERS_MEMORY_BYTES = 13_000_000_000
NOTE = (
    "Base: 2.09 billion parameters in bf16, real names, random values. Adapters: kohya, rank 16, 24 "
    "and 32 on 280 modules each, strengths 0.8, 0.5 and 0.3. Files are in the cache. `lorakit.fuse` "
    "starts from paths and ends with every result in memory; streamed, the consumer keeps nothing. "
    "Memory beyond the mapped files is the peak of the process's own pages over what it held before, "
    "in a run that is not timed. The last rows are what no fuse can do without: the bytes of the touched weights "
    "copied into memory that is there, and memory for the results taken from the system."
)
DIFFUSERS_NOTE = (
    "diffusers starts with the model in memory, loads the same adapters in its own layout and fuses "
    "them. The two results differ by their rounding to bf16."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section, or do one worker's part in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuse_cpu", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of lorakit.fuse")
    parser.add_argument("--dir", type=Path, help="keep the files here (5.5 GB) and use them again")
    parser.add_argument("--diffusers", action="store_true", help="time diffusers too (13 GB)")
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(asdict(WORKERS[options.worker](options.dir, options.runs))))
        return
    print(measure(options.runs, options.dir, diffusers=options.diffusers).markdown())


def measure(runs: int = RUNS, folder: Path | None = None, *, diffusers: bool = False) -> Section:
    """Write the files into `folder`, or a temporary one, and time what was asked for."""
    if folder is None:
        with TemporaryDirectory() as name:
            return measure(runs, Path(name), diffusers=diffusers)
    _write_files(folder)
    names = [name for name in WORKERS if diffusers or name != "diffusers"]
    found = {name: _run(name, folder, 1 if name == "diffusers" else runs) for name in names}
    rows = [*_our_rows(found["lorakit"], found["stream"]), *_floor_rows(found)]
    if diffusers:
        rows += _their_rows(found["lorakit"], found["diffusers"])
    return Section(
        "Fusing on a CPU",
        command_line("fuse_cpu", runs=runs, diffusers=diffusers),
        [("figure", "median", "least", "target"), *rows],
        [NOTE, DIFFUSERS_NOTE] if diffusers else [NOTE],
    )


def _write_files(folder: Path) -> None:
    say("Writing a base of 4.2 GB and three adapters")
    folder.mkdir(parents=True, exist_ok=True)
    write_base(base_file(folder))
    for rank, _ in STACK:
        write_adapter(adapter_file(folder, rank), rank)
        write_adapter(diffusers_adapter_file(folder, rank), rank, layout="diffusers")


def _run(worker: str, folder: Path, runs: int) -> Result:
    """A worker in a process of its own, so that neither's memory or cache is the other's."""
    say(f"Timing {worker}")
    words = [sys.executable, "-m", "bench.fuse_cpu", "--worker", worker]
    words += ["--dir", str(folder), "--runs", str(runs)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


Row = tuple[str, str, str, str]


def _our_rows(ours: Result, streamed: Result) -> list[Row]:
    return [
        _times("`lorakit.fuse`", ours),
        _times("`stream_fused`", streamed),
        ("memory beyond the mapped files, all held", _gigabytes(ours.added), "", "under 4 GB"),
        (
            "memory beyond the mapped files, streamed",
            _gigabytes(streamed.added),
            "",
            "under 0.6 GB",
        ),
        ("resident memory with mapped files, all held", _gigabytes(ours.resident), "", ""),
    ]


def _floor_rows(found: dict[str, Result]) -> list[Row]:
    return [
        _times("the touched weights copied, 3.5 GB", found["copy"]),
        _times("3.5 GB of fresh memory, large pages", found["fill"]),
        _times("3.5 GB of fresh memory, small pages", found["fill, small pages"]),
    ]


def _their_rows(ours: Result, theirs: Result) -> list[Row]:
    seconds = theirs.seconds[0]
    times = [f"{seconds / chosen(ours.seconds):.1f}" for chosen in (median, min)]
    apart = f"{theirs.difference:.3f}"
    return [
        ("diffusers `load_lora_adapter` + `fuse_lora`, once", f"{seconds:.1f} s", "", ""),
        ("times faster", times[0], times[1], str(TARGET_RATIO)),
        ("diffusers, memory beyond the model", _gigabytes(theirs.added), "", ""),
        ("largest difference of the two results, part of the delta", apart, "", ""),
    ]


def _times(name: str, result: Result) -> Row:
    return name, f"{median(result.seconds):.2f} s", f"{min(result.seconds):.2f} s", ""


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count > 0 else "not known here"


if __name__ == "__main__":
    main()
