"""The catalog beside LoRA Manager: the same files and the same questions, in one run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.catalog_files import make_files
from bench.lora_manager import Peer, Server, running
from bench.processes import lorakit_script, run, seconds, shown
from bench.tables import Section, say
from lorakit.catalog import Catalog
from lorakit.cli.queries import header_share
from lorakit.licenses.adding import take_in

# Files of 130 MB, as many as somebody may have fetched in an evening.
_NEW = 6
_PAGE = 50
_SEARCHES = ("sumi", "nothinghasthis", "")
# Seconds, as issue 6 states them for LoRA Manager at 20,000 adapters on another machine.
STATED_AT = 20_000
STATED = {"whole": "44 s", "again": "0.55 s", "sumi": "0.385 s"}


@dataclass(frozen=True)
class _Figures:
    """One program's answers, in the order of the table, and its memory after the first index."""

    first: float
    memory: int
    again: list[float]
    searches: dict[str, list[float]]
    new: float


def measure(peer: Peer, count: int, runs: int, folder: Path | None = None) -> Section:
    """Index the same `count` files with both, scan again, search, and add files of real size."""
    with TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        files = root / "files"
        say(f"Making {count:,} thin files")
        make_files(files, count, thin=True)
        whole = make_files(root / "whole", _NEW + 1, seed=2, kinds=2, real_bytes=True)[1:]
        size = sum(path.stat().st_size for path in whole)
        say("Indexing headers")
        headers = _index(root / "headers", files, "--headers")
        # LoRA Manager writes a file beside each adapter, and drops what it read from the system's
        # memory, so it comes second.
        ours = _ours(root, files, whole, runs)
        theirs, start = _theirs(root, peer, files, whole, runs, count)
    return Section(
        f"{count:,} adapters beside LoRA Manager",
        f"python -m bench.catalog --files {count} --runs {runs} --lora-manager CHECKOUT",
        [
            ("what", "lorakit", "LoRA Manager", "as issue 6 states it"),
            (f"first index, headers alone ({_mb(headers[1])})", shown([headers[0]]), "", ""),
            *_rows(ours, theirs, size, STATED if count == STATED_AT else {}),
        ],
        [
            f"LoRA Manager: {peer.version}. Its server is started without ComfyUI and without a "
            "network, logs warnings alone, and is asked over HTTP; its first index counts from the "
            f"start of its process, of which {shown([start])} are its start with an empty folder, "
            "to the moment when its list is complete, which is before it has stored it.",
            "lorakit's first index is a whole process, `lorakit scan`; the rest is asked in "
            "process. Files have headers of 63 to 71 KB and tensors of 4 to 72 KB, so that reading "
            "them whole costs both as little as it can. Medians of "
            f"{runs} where something is asked again.",
        ],
    )


def _rows(
    ours: _Figures, theirs: _Figures, size: int, stated: dict[str, str]
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            "first index, files read whole",
            shown([ours.first]),
            shown([theirs.first]),
            stated.get("whole", ""),
        ),
        ("memory of that", _mb(ours.memory), _mb(theirs.memory), ""),
        (
            "scanned again, nothing changed",
            shown(ours.again),
            shown(theirs.again),
            stated.get("again", ""),
        ),
        (
            f"scanned again, {_NEW} new files of {size / 1e6:,.0f} MB together",
            shown([ours.new]),
            shown([theirs.new]),
            "",
        ),
    ]
    for word in _SEARCHES:
        what = f"`{word}`" if word else "everything"
        one, other = shown(ours.searches[word]), shown(theirs.searches[word])
        rows.append((f"{what}, first {_PAGE}", one, other, stated.get(word, "")))
    return rows


def _ours(root: Path, files: Path, whole: list[Path], runs: int) -> _Figures:
    say("Indexing files read whole")
    first, memory = _index(root / "home", files)
    with Catalog.open(root / "home" / "catalog.db") as catalog:
        say("Asking lorakit")
        again = _again(partial(_scan, catalog, files), runs)
        searches = {
            word: _again(partial(catalog.find, word, limit=_PAGE, share=header_share), runs)
            for word in _SEARCHES
        }
        new = _with_new(files, whole, partial(_scan, catalog, files))
    return _Figures(first, memory, again, searches, new)


def _theirs(
    root: Path, peer: Peer, files: Path, whole: list[Path], runs: int, count: int
) -> tuple[_Figures, float]:
    say("Starting LoRA Manager")
    (root / "nothing").mkdir()
    # The first start compiles its modules.
    for number in range(2):
        with running(peer, root / f"start-{number}", root / "nothing") as server:
            start = server.wait_for(0)
    say("Indexing with LoRA Manager")
    with running(peer, root / "theirs", files) as server:
        first = server.wait_for(count)
        memory = server.peak_memory()
        say("Asking LoRA Manager")
        scan = partial(server.ask, "scan")
        again = _again(scan, runs)
        searches = {word: _again(partial(_search, server, word), runs) for word in _SEARCHES}
        new = _with_new(files, whole, scan)
    return _Figures(first, memory, again, searches, new), start


def _index(home: Path, files: Path, *options: str) -> tuple[float, int]:
    environment = {**os.environ, "LORAKIT_HOME": str(home)}
    return run([lorakit_script(), "scan", *options, str(files)], environment)


def _scan(catalog: Catalog, files: Path) -> None:
    take_in(catalog, catalog.add([files]), "scan")


def _search(server: Server, word: str) -> None:
    query = {"search": word} if word else {}
    server.ask("list", page=1, page_size=_PAGE, **query)


def _again(act: Callable[[], object], runs: int) -> list[float]:
    act()
    return [seconds(act) for _ in range(runs)]


def _with_new(files: Path, whole: list[Path], scan: Callable[[], object]) -> float:
    """How long a scan takes that finds new files, which are taken away again."""
    new = files / "new"
    new.mkdir()
    for path in whole:
        os.link(path, new / path.name)
    taken = seconds(scan)
    for path in new.iterdir():
        path.unlink()
    new.rmdir()
    return taken


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size else ""
