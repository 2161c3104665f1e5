"""Start-up: how long whole commands take, from the shell's point of view, with a warm cache."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.files import usual_modules, write_adapter
from bench.tables import Section, command_line, say

RUNS = 20
WARM_UP = 3
ADAPTERS = 1000


@dataclass(frozen=True)
class Case:
    """A command, how it is shown, and the milliseconds it may take (None: for comparison)."""

    shown: str
    words: Sequence[str]
    target: int | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of each command")
    parser.add_argument(
        "--adapters", type=int, default=ADAPTERS, help="how many adapters `ls` has to list"
    )
    options = parser.parse_args(arguments)
    print(measure(options.runs, options.adapters).markdown())


def measure(runs: int = RUNS, adapters: int = ADAPTERS) -> Section:
    """Make the files in a temporary folder, and time every case."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "LORAKIT_HOME": str(folder / "home")}
        cases = _cases(folder, adapters)
        _fill_catalog(folder / "collection", adapters, environment)
        rows = [_row(case, _times(case, runs, environment)) for case in cases]
    return Section(
        "Start-up",
        command_line("startup", runs=runs, adapters=adapters if adapters != ADAPTERS else 0),
        [("whole process", "median", "least", "target"), *rows],
        [
            f"Each command was run {runs} times after {WARM_UP} runs that do not count. "
            "The full-size file is kohya's, rank 16, 280 modules, 46 MB: `inspect` hashes all of it. "
            "The 2 kB file shows the same command without the hashing.",
        ],
    )


def _cases(folder: Path, adapters: int) -> list[Case]:
    say("Writing two adapters")
    full = write_adapter(folder / "full.safetensors", 16)
    tiny = write_adapter(folder / "tiny.safetensors", 2, modules=_tiny_modules())
    lorakit = [str(_script())]
    return [
        Case("`python -c pass`", [sys.executable, "-c", "pass"], None),
        Case("`lorakit --version`", [*lorakit, "--version"], 80),
        Case("`lorakit --help`", [*lorakit, "--help"], 150),
        Case(
            "`lorakit inspect FILE --json`, 46 MB", [*lorakit, "inspect", str(full), "--json"], 150
        ),
        Case(
            "`lorakit inspect FILE --json`, 2 kB", [*lorakit, "inspect", str(tiny), "--json"], 150
        ),
        Case("`lorakit inspect FILE`, 46 MB", [*lorakit, "inspect", str(full)], 200),
        Case("`lorakit inspect FILE`, 2 kB", [*lorakit, "inspect", str(tiny)], 200),
        Case(f"`lorakit ls`, {adapters:,} adapters", [*lorakit, "ls"], 400),
    ]


def _tiny_modules() -> dict[str, tuple[int, int]]:
    return dict.fromkeys(list(usual_modules())[:3], (32, 32))


def _fill_catalog(folder: Path, count: int, environment: dict[str, str]) -> None:
    """Add `count` adapters of 280 modules each, whose factors are as small as they can be."""
    say(f"Adding {count:,} adapters to a catalog")
    folder.mkdir()
    small = dict.fromkeys(usual_modules(), (2, 2))
    pattern = write_adapter(folder / "style-0000.safetensors", 1, modules=small).read_bytes()
    for number in range(1, count):
        # Other last bytes make it another adapter.
        copy = folder / f"style-{number:04}.safetensors"
        copy.write_bytes(pattern[:-4] + number.to_bytes(4, "little"))
    words = [str(_script()), "add", str(folder), "--quiet"]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert len(done.stdout.split()) == count


def _times(case: Case, runs: int, environment: dict[str, str]) -> list[float]:
    say(f"Timing {case.shown}")
    seconds = []
    for _ in range(WARM_UP + runs):
        started = time.perf_counter()
        subprocess.run(case.words, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def _row(case: Case, seconds: Sequence[float]) -> tuple[str, ...]:
    target = f"{case.target} ms" if case.target is not None else ""
    return case.shown, f"{median(seconds) * 1e3:.0f} ms", f"{min(seconds) * 1e3:.0f} ms", target


def _script() -> Path:
    """The installed `lorakit` command, as a person starts it."""
    return Path(sysconfig.get_path("scripts")) / "lorakit"


if __name__ == "__main__":
    main()
