"""The demo: how long `lorakit demo` takes once everything is installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.tables import Section, command_line, say

RUNS = 3
TARGET_SECONDS = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs")
    print(measure(parser.parse_args(arguments).runs).markdown())


def measure(runs: int = RUNS) -> Section:
    """Run the demo in a temporary folder, each time afresh."""
    seconds = [_run(number) for number in range(1, runs + 1)]
    return Section(
        "Demo",
        command_line("demo", runs=runs),
        [
            ("`lorakit demo`, after installation", "median", "least", "target"),
            (
                "whole run",
                f"{median(seconds):.1f} s",
                f"{min(seconds):.1f} s",
                f"{TARGET_SECONDS} s",
            ),
        ],
        [
            f"Runs: {runs}. Each copies the model and the adapters, runs ten commands and writes the page."
        ],
    )


def _run(number: int) -> float:
    say(f"Running the demo ({number})")
    with TemporaryDirectory() as name:
        words = [sys.executable, "-m", "lorakit", "demo", "--dir", str(Path(name) / "demo")]
        started = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
