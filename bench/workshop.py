"""The workshop at full size: comparing, merging, resizing and extracting on files of random weights."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.machine import usable_cores
from bench.tables import Section, command_line, say
from bench.workshop_parts import (
    ADAPTER_WORKERS,
    CHECKPOINT_WORKERS,
    FOLDER_FILES,
    NEW_RANK,
    Result,
    checkpoints,
    cpu_seconds,
    resized_files,
    write_adapters,
    write_checkpoints,
)

RUNS = 3
DISK_BYTES = 12_000_000_000
MEMORY_BYTES = 6_000_000_000
WORKERS = {**ADAPTER_WORKERS, **CHECKPOINT_WORKERS}
Row = tuple[str, str, str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section, or do one worker's part in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.workshop", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of each part")
    parser.add_argument("--dir", type=Path, help="keep the files here (12 GB) and use them again")
    parser.add_argument("--light", action="store_true", help="leave out the checkpoints")
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(asdict(WORKERS[options.worker](options.dir, options.runs))))
        return
    print(measure(options.runs, options.dir, light=options.light).markdown())


def measure(runs: int = RUNS, folder: Path | None = None, *, light: bool = False) -> Section:
    """Write the files into `folder`, or a temporary one, and time every part."""
    if folder is None:
        with TemporaryDirectory() as name:
            return measure(runs, Path(name), light=light)
    if not resized_files(folder)[-1].exists():
        write_adapters(folder)
    found = {name: _run(name, folder, runs) for name in ADAPTER_WORKERS}
    rows = [*_adapter_rows(found), *_command_rows(folder, runs)]
    if not light:
        if not checkpoints(folder)[1].exists():
            write_checkpoints(folder)
        _register(folder)
        rows += _checkpoint_rows(
            {name: _run(name, folder, max(1, runs // 2)) for name in CHECKPOINT_WORKERS}
        )
    return Section(
        "Workshop",
        command_line("workshop", runs=runs, light=light),
        [("figure", "median", "least", "target"), *rows],
        [_note(found)],
    )


def _run(worker: str, folder: Path, runs: int) -> Result:
    """A worker in a process of its own, so that no part's memory or cache is another's."""
    say(f"Timing {worker}")
    words = [sys.executable, "-m", "bench.workshop", "--worker", worker]
    words += ["--dir", str(folder), "--runs", str(runs)]
    done = subprocess.run(words, env=_home(folder), stdout=subprocess.PIPE, text=True, check=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _register(folder: Path) -> None:
    """Both checkpoints as bases whose terms allow an adapter to be taken out of them."""
    for name, path in zip(("base", "tuned"), checkpoints(folder), strict=True):
        say(f"Registering {path.name}")
        words = ["base", "add", str(path), "--name", name, "--as", "anima", "--quiet"]
        subprocess.run(_lorakit(words), env=_home(folder), check=True, stdout=subprocess.DEVNULL)


def _adapter_rows(found: Mapping[str, Result]) -> list[Row]:
    return [
        _times("norms and cosines of eight adapters in memory", found["norms"], "1 s"),
        _times("the same with overlaps, files read (`lorakit check`)", found["check"]),
        _times("merge of eight, rank 256 to 32", found["merge"], "20 s"),
        ("memory of that, files not counted", _gigabytes(found["merge"].own), "", ""),
        _times(f"resize of one file, rank 64 to {NEW_RANK}, written", found["resize"], "3 s"),
        _times(f"resize of a folder of {FOLDER_FILES} such files, written", found["folder"]),
        ("cores that it keeps busy", f"{found['folder'].cores:.2f}", "", f"all {usable_cores()}"),
        (
            "memory of each of its processes, files not counted",
            _gigabytes(found["folder"].own),
            "",
            "",
        ),
    ]


def _command_rows(folder: Path, runs: int) -> list[Row]:
    """Whole commands, and how many cores a folder keeps busy."""
    one, all_of_them = [], []
    busy = []
    file = str(resized_files(folder)[0])
    for _ in range(runs):
        one.append(_command(folder, [file])[0])
        seconds, cores = _command(folder, [str(folder / "large")])
        all_of_them.append(seconds)
        busy.append(cores)
    return [
        _times("`lorakit resize FILE --rank 16`, whole process", Result(one)),
        _times(
            f"`lorakit resize FOLDER --rank 16`, {FOLDER_FILES} such files", Result(all_of_them)
        ),
        (
            "cores that this keeps busy, with its start",
            f"{median(busy):.2f}",
            f"{min(busy):.2f}",
            "",
        ),
    ]


def _command(folder: Path, names: list[str]) -> tuple[float, float]:
    """Seconds of a resize as a whole process, and CPU seconds a second."""
    into = folder / "small"
    shutil.rmtree(into, ignore_errors=True)
    words = ["resize", *names, "--rank", str(NEW_RANK), "--into", str(into), "--quiet"]
    say(f"Running lorakit resize {Path(names[0]).name}")
    used, started = cpu_seconds(), time.perf_counter()
    subprocess.run(_lorakit(words), env=_home(folder), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return seconds, (cpu_seconds() - used) / seconds


def _checkpoint_rows(found: Mapping[str, Result]) -> list[Row]:
    extract = found["extract"]
    return [
        _times("two checkpoints of 4.2 GB, read once", found["read"]),
        _times("extract of a change of rank 24 from them, written", extract),
        ("energy of the difference that is kept", f"{extract.kept:.2%}", "", ""),
        ("memory of that, files not counted", _gigabytes(extract.own), "", "under 1 GB"),
        ("resident memory with mapped files", _gigabytes(extract.resident), "", ""),
    ]


def _note(found: Mapping[str, Result]) -> str:
    return (
        "Adapters: kohya's layout, bf16, the usual 280 modules, random values, so that their spectra are "
        f"flat: rank 32 of 256 keeps {found['merge'].kept:.1%} of the energy here, rank {NEW_RANK} of 64 "
        f"{found['resize'].kept:.1%}. Files are in the cache where memory allows. A part is run once before it "
        "is timed, but for reading and extracting. Memory is the most that a process had of its own in its first run. "
        "The difference of the checkpoints holds the rounding of both to bf16 beside the change."
    )


def _lorakit(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "lorakit", *words]


def _home(folder: Path) -> dict[str, str]:
    return {**os.environ, "LORAKIT_HOME": str(folder / "home")}


def _times(name: str, result: Result, target: str = "") -> Row:
    return name, _shown(median(result.seconds)), _shown(min(result.seconds)), target


def _shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count > 0 else "not known here"


if __name__ == "__main__":
    main()
