"""The catalog: first index, rescans, hashing, and queries over many adapters; in process and as commands."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import catalog_beside as beside
from bench import catalog_scanning as scanning
from bench.catalog_rows import WORDS, fill
from bench.lora_manager import PeerFailure, find_peer
from bench.processes import lorakit_script, most, run, seconds, shown
from bench.tables import Section, command_line, say
from lorakit.catalog import Catalog
from lorakit.catalog.query.index import FILE_NAME
from lorakit.cli.queries import header_share

COUNTS = (20_000, 200_000)
RUNS = 9
PAGE = 50
QUERIES = (
    "",
    "sumi",
    "nothinghasthis",
    "sumi noir -wash",
    "su*noir*",
    "title:sumi sort:title",
    "note:etching",
    "tag:ink rank:8..32 algo:lokr",
    "tag:nothinghasthis",
    "-tag:ink sort:rank-",
    "rating:4.. , favourite:yes sort:rating- sort:added-",
    "block:0..2 -kind:mlp sort:size-",
    "component:text_encoder base:rdbt",
    "license:allow missing:no",
    "license:unknown sort:added-",
    "added:2026-10 sort:added-",
    "path:/0007/",
    "collection:best",
    "duplicate:yes",
    "hash:00f",
    (
        "ink tag:sumi rank:8..32 block:0..2 component:dit base:anima missing:no "
        "added:2025.. -tag:noir, rating:4.. sort:rank-"
    ),
    # The slowest that were found among some two hundred: all must be looked at, and little can be left out.
    "a sort:title-",
    "-zz sort:title",
    "sort:base sort:algo sort:dtype sort:rank-",
    "missing:yes sort:added",
    "duplicate:yes sort:size-",
    "n*r sort:added-",
    "-tag:i* sort:added-",
    "e*e*e*e",
    "e*e , i*i , o*o , a*a",
    "path:*a*e* sort:title-",
    "??????????????????????????????",
    " , ".join(f"tag:{word}" for word in WORDS) + " sort:added-",
    *(
        " , ".join(pattern.format(number) for number in range(50))
        for pattern in ("no{}", "tag:no{}", "tag:x{}*", "name:x{}*", "note:zz{}", "path:zz{}")
    ),
    " ".join(f"-zz{number}" for number in range(50)) + " sort:added-",
)
_LONGEST = 120
# Seconds that the first page may take, by the number of adapters up to which it holds.
_TARGETS = ((20_000, 0.020), (200_000, 0.100))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a section for each number of adapters."""
    parser = argparse.ArgumentParser(prog="python -m bench.catalog", description=__doc__)
    parser.add_argument(
        "--adapters",
        type=int,
        nargs="*",
        default=list(COUNTS),
        help="the sizes of catalogs to query; none to leave them out",
    )
    parser.add_argument(
        "--files", type=int, default=COUNTS[0], help="how many files to index and to scan again"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of each query")
    parser.add_argument("--dir", type=Path, help="where to make the catalogs, some hundred MB each")
    parser.add_argument(
        "--lora-manager", type=Path, metavar="CHECKOUT", help="run LoRA Manager beside it"
    )
    parser.add_argument(
        "--lora-manager-python",
        default=sys.executable,
        metavar="PYTHON",
        help="a Python with LoRA Manager's requirements",
    )
    options = parser.parse_args(arguments)
    here = (options.runs, options.dir)
    sections = [partial(scanning.measure, options.files, *here)]
    if options.lora_manager:
        try:
            peer = find_peer(options.lora_manager, options.lora_manager_python)
        except PeerFailure as failure:
            parser.error(str(failure))
        sections.append(partial(beside.measure, peer, options.files, *here))
    sections += [partial(measure, count, *here) for count in options.adapters]
    for section in sections:
        try:
            print(section().markdown(), flush=True)
        except PeerFailure as failure:
            print(f"## Beside LoRA Manager\n\nLeft out: {failure}", flush=True)
        print(flush=True)


def measure(count: int = COUNTS[0], runs: int = RUNS, folder: Path | None = None) -> Section:
    """Make a catalog of `count` adapters in a temporary folder, and time every case."""
    with TemporaryDirectory(dir=folder) as name:
        home = Path(name) / "home"
        path = home / "catalog.db"
        say(f"Making a catalog of {count:,} adapters")
        fill(path, Path(name) / "files", count)
        rows = [
            *_index_rows(path, count, runs),
            *_query_rows(path, count, runs),
            *_command_rows(home, runs),
        ]
        sizes = [f"{(home / file).stat().st_size / 1e6:,.0f} MB" for file in (path.name, FILE_NAME)]
    return Section(
        f"A catalog of {count:,} adapters",
        command_line("catalog", adapters=count, runs=runs),
        [("what", "median", "most", "target"), *rows],
        [
            f"Queries are asked in process for their first {PAGE} adapters, {runs} times each, the "
            "index being opened and closed each time and files looked for on the disk; the catalog "
            f"takes {sizes[0]}, the index {sizes[1]}. Commands are whole processes; their memory is "
            "the most that was resident, mapped files included.",
        ],
    )


def _index_rows(path: Path, count: int, runs: int) -> list[tuple[str, ...]]:
    """The index of queries, made once; and the first query after each change."""
    say("Making the index")
    tagged = []
    with Catalog.open(path) as catalog:
        made = seconds(lambda: catalog.find("", limit=PAGE))
        for number, record in enumerate(catalog.find("", limit=runs)):
            catalog.tag([record.tensor_sha256], [f"just now {number}"])
            ask = partial(catalog.find, f"tag:'just now {number}'", limit=PAGE)
            tagged.append(seconds(ask))
    time.sleep(0.2)
    return [
        ("index of queries made anew, with the first page", shown([made]), "", ""),
        ("first query after a tag", shown(tagged), most(tagged), _target(count)),
    ]


def _target(count: int) -> str:
    return next((f"{seconds * 1e3:.0f} ms" for most, seconds in _TARGETS if count <= most), "")


def _named(query: str) -> str:
    """A query as the table shows it."""
    if len(query) <= _LONGEST:
        return f"`{query or '(everything)'}`"
    terms = len([word for word in query.split() if word != ","])
    return f"`{query[:_LONGEST].rsplit(' ', 1)[0]}` …, {terms} terms"


def _query_rows(path: Path, count: int, runs: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    with Catalog.open(path) as catalog:
        for query in QUERIES:
            say(f"Asking {_named(query)}")
            ask = partial(catalog.find, query, limit=PAGE, share=header_share)
            ask()
            times = [seconds(ask) for _ in range(runs)]
            rows.append((_named(query), shown(times), most(times), _target(count)))
    return rows


def _command_rows(home: Path, runs: int) -> list[tuple[str, ...]]:
    script = lorakit_script()
    environment = {**os.environ, "LORAKIT_HOME": str(home)}
    asked = {"COMP_WORDS": "lorakit ls su", "COMP_CWORD": "2"}
    completing = {**environment, "_LORAKIT_COMPLETE": "complete_bash", **asked}
    cases: tuple[tuple[str, list[str], dict[str, str], str], ...] = (
        ("`lorakit ls`, whole process", ["ls"], environment, "400 ms"),
        ("`lorakit ls sumi tag:ink`, whole process", ["ls", "sumi", "tag:ink"], environment, ""),
        ("`lorakit ls -q`, all names, whole process", ["ls", "-q"], environment, ""),
        ("completion of `lorakit ls su`, whole process", [], completing, "250 ms"),
    )
    rows: list[tuple[str, ...]] = []
    say("Running `lorakit ls`, after a tag each time")
    tagged = [_after_tag(home, [script, "ls", "tag:new"], environment) for _ in range(runs)]
    told = "`lorakit ls tag:new` right after a tag, whole process"
    rows.append((told, shown(tagged), most(tagged), "400 ms"))
    for what, words, variables, target in cases:
        say(f"Running {what}")
        times, peaks = zip(*(run([script, *words], variables) for _ in range(runs)), strict=True)
        told = f"{what} ({max(peaks) / 1e6:.0f} MB)" if max(peaks) else what
        rows.append((told, shown(times), most(times), target))
    return rows


def _after_tag(home: Path, words: list[str], environment: dict[str, str]) -> float:
    with Catalog.open(home / "catalog.db") as catalog:
        catalog.tag([catalog.find("-tag:new", limit=1)[0].tensor_sha256], ["new"])
    return run(words, environment)[0]


if __name__ == "__main__":
    main()
