"""Scanning: the first index of many files, the same scan again, and reading files whole."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.catalog_files import make_files, make_sidecars
from bench.processes import lorakit_script, most, run, seconds, shown
from bench.tables import Section, command_line, say
from lorakit.catalog import Catalog
from lorakit.licenses.adding import take_in

_WHOLE = 6
_INDEX_TARGET, _RESCAN_TARGET, _MEMORY_TARGET = "15 s, 300 MB", "300 ms", 300e6
_LM = (
    "LoRA Manager, as issue 6 states it, needs 44 s for a first index, 0.55 s with no change and "
    "0.385 s for a name; `--lora-manager` runs it on the same files."
)


def measure(count: int, runs: int, folder: Path | None = None) -> Section:
    """Make `count` files in a temporary folder, index and scan them; read a few real ones whole."""
    with TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        rows = [*_scan_rows(root, count, runs), *_hash_rows(root / "whole")]
    return Section(
        f"Scanning {count:,} adapters",
        command_line("catalog", files=count, runs=runs),
        [("what", "median", "most", "target"), *rows],
        [
            "Files have headers of 67 to 77 KB in 48 kinds (rank, layout, blocks), and lie in the "
            "system's memory, as after a copy. The first index is `lorakit scan --headers`, a whole "
            "process; scanning again is asked in process, with the walk, the comparison and what lies "
            f"beside. Files read whole are random bytes. {_LM}",
        ],
    )


def _scan_rows(root: Path, count: int, runs: int) -> list[tuple[str, ...]]:
    files, home = root / "files", root / "home"
    say(f"Making {count:,} files")
    paths = make_files(files, count)
    environment = {**os.environ, "LORAKIT_HOME": str(home)}
    say("Indexing")
    first, peak = run([lorakit_script(), "scan", "--headers", str(files)], environment)
    rows: list[tuple[str, ...]] = [
        (f"first index, headers ({peak / 1e6:.0f} MB)", shown([first]), "", _INDEX_TARGET),
    ]
    _pretend_read(home / "catalog.db")
    with Catalog.open(home / "catalog.db") as catalog:
        found = seconds(lambda: catalog.find("", limit=50))
        rows.append(("index of queries made, with the first page", shown([found]), "", ""))
        scan = partial(_scan, catalog, files)
        scan()
        say("Scanning again")
        times = [seconds(scan) for _ in range(runs)]
        rows.append(("scanned again, nothing changed", shown(times), most(times), _RESCAN_TARGET))
        say("Scanning again with files of other programs")
        make_sidecars(paths)
        scan()
        times = [seconds(scan) for _ in range(runs)]
        rows.append(("the same with four files beside each", shown(times), most(times), ""))
    return rows


def _scan(catalog: Catalog, files: Path) -> None:
    result = catalog.add([files])
    assert not any((result.added, result.changed, result.moved, result.failed))
    take_in(catalog, result, "scan")


def _pretend_read(database: Path) -> None:
    """Give every pending adapter a content, as if its file had been read whole."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE adapter SET file_sha256 = lower(hex(randomblob(32))), "
            "tensor_sha256 = lower(hex(randomblob(32)))"
        )


def _hash_rows(folder: Path) -> list[tuple[str, ...]]:
    say(f"Reading {_WHOLE} files whole")
    first, *paths = make_files(folder, _WHOLE + 1, seed=2, kinds=2, real_bytes=True)
    total = sum(path.stat().st_size for path in paths)
    one_pass = seconds(lambda: [_sha256(path) for path in paths])
    with Catalog.open(folder / "catalog.db") as catalog:
        # What writes to the catalog is imported with the first.
        catalog.add([first])
        both = seconds(lambda: catalog.add([folder]))
    return [
        (f"one SHA-256 of {total / 1e6:,.0f} MB", shown([one_pass]), "", ""),
        (
            f"the same files added, both hashes ({total / both / 1e6:,.0f} MB/s)",
            shown([both]),
            "",
            f"{one_pass:.2f} s",
        ),
    ]


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 18):
            digest.update(chunk)
    return digest.hexdigest()
