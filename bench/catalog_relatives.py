"""Relatives by weights and galleries over many adapters: the first call, which reads them, and the next."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.files import block_linears, write_adapter
from bench.processes import lorakit_script, run, shown
from bench.tables import Section, command_line, say

ADAPTERS, RUNS = 1_000, 3
RANK = 16
# Attention alone: 64 modules, so that the coarse comparison counts.
BLOCKS = 8
DISK_BYTES = 9_000_000_000
# Each tenth is the one before it in another layout.
_TWIN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section."""
    parser = argparse.ArgumentParser(prog="python -m bench.catalog_relatives", description=__doc__)
    parser.add_argument("--adapters", type=int, default=ADAPTERS)
    parser.add_argument(
        "--blocks", type=int, default=BLOCKS, help="of how many blocks the attention is changed"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of each later call")
    parser.add_argument("--dir", type=Path, help="where to make the files, 8 GB as it is")
    options = parser.parse_args(arguments)
    print(measure(options.adapters, options.blocks, options.runs, options.dir).markdown())


def measure(
    count: int = ADAPTERS, blocks: int = BLOCKS, runs: int = RUNS, folder: Path | None = None
) -> Section:
    """Make the files and their catalog in a temporary folder, and time both verbs as processes."""
    with TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        size, modules = _make_files(root / "files", count, blocks)
        say("Indexing")
        scanned = _lorakit(root / "similar", "scan", str(root / "files"))
        # Both verbs keep what they work out, so each begins with a catalog that has none of it.
        shutil.copytree(root / "similar", root / "report")
        cases = (
            ("`lorakit similar`", root / "similar", ["similar", "relative-00010"]),
            ("`lorakit report`", root / "report", ["report", "-o", str(root / "page.html")]),
        )
        rows = [("`lorakit scan`", *_shown(scanned), "")]
        for what, home, words in cases:
            say(f"Running {what}")
            first = _lorakit(home, *words)
            words += ["--overwrite"] if "report" in words else []
            again = [_lorakit(home, *words) for _ in range(runs)]
            later = shown([taken for taken, _ in again])
            rows.append((what, *_shown(first), later))
        page = (root / "page.html").stat().st_size
    return Section(
        f"Relatives and a gallery of {count:,} adapters",
        command_line("catalog_relatives", adapters=count, blocks=blocks, runs=runs),
        [("whole process", "first call", "memory of that", "later calls"), *rows],
        [
            f"Adapters of random weights, rank {RANK} on {modules} modules, {size / 1e6:.1f} MB each, "
            f"just written; every tenth is the one before it in another layout. Later calls are the "
            f"median of {runs}. The page takes {page / 1e6:.1f} MB.",
        ],
    )


def _make_files(folder: Path, count: int, blocks: int) -> tuple[int, int]:
    """Write the adapters; the size of one in bytes, and how many modules each has."""
    say(f"Writing {count:,} adapters")
    folder.mkdir()
    modules = {
        f"blocks.{block}.{name}": shape
        for block, (name, shape) in product(range(blocks), block_linears().items())
        if "attn" in name and not name.startswith("adaln")
    }
    for number in range(count):
        path = folder / f"relative-{number:05}.safetensors"
        if number % _TWIN:
            write_adapter(path, RANK, modules=modules, seed=number)
        else:
            write_adapter(path, RANK, modules=modules, seed=max(number - 1, 0), layout="comfy")
    return path.stat().st_size, len(modules)


def _lorakit(home: Path, *words: str) -> tuple[float, int]:
    environment = {**os.environ, "LORAKIT_HOME": str(home)}
    return run([lorakit_script(), *words], environment)


def _shown(one: tuple[float, int]) -> tuple[str, str]:
    taken, peak = one
    return shown([taken]), f"{peak / 1e6:,.0f} MB" if peak else ""


if __name__ == "__main__":
    main()
