"""What the benchmark of the workshop measures, each part in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path

import torch

from bench.files import PREFIX, base_tensors, usual_modules, write_adapter, write_base
from bench.memory import watch
from bench.tables import say
from lorakit.adapters.loading import load_adapter
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.cli.main import run
from lorakit.formats.writing import encode_header
from lorakit.fusion.engine import stream_fused
from lorakit.merging.checking.comparing import compare
from lorakit.merging.cores import gram_of
from lorakit.merging.extracting.extract_to_file import Wanted, extract_to_file
from lorakit.merging.factors import exact_factors
from lorakit.merging.merge import merged
from lorakit.merging.ranks import Rank
from lorakit.merging.resizing import resize
from lorakit.merging.side_by_side import side_by_side
from lorakit.stack import Entry, resolve_stack

MERGED, MERGED_RANK = 8, 32
RESIZED_RANK, NEW_RANK = 64, 16
FOLDER_FILES = 8
TUNED_RANK = 24
_STRENGTH = 0.5


@dataclass(frozen=True)
class Result:
    """Seconds of each run, and the most memory of the process: its own, and all with mapped files.

    `cores` are the CPU seconds of a second, of user and system together.
    """

    seconds: list[float]
    own: int = 0
    resident: int = 0
    kept: float = 0.0
    cores: float = 0.0


def merged_files(folder: Path) -> list[Path]:
    """Where the adapters that are merged lie."""
    return [folder / f"merged-{number}.safetensors" for number in range(MERGED)]


def resized_files(folder: Path) -> list[Path]:
    """Where the adapters that are resized lie, in a folder of their own."""
    return [folder / "large" / f"large-{number}.safetensors" for number in range(FOLDER_FILES)]


def checkpoints(folder: Path) -> tuple[Path, Path]:
    """The base and the checkpoint made of it."""
    return folder / "base.safetensors", folder / "tuned.safetensors"


def write_adapters(folder: Path) -> None:
    """Eight adapters of rank 32 and eight of rank 64 on the usual 280 modules."""
    say("Writing sixteen adapters, 2.2 GB")
    (folder / "large").mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(merged_files(folder)):
        write_adapter(path, MERGED_RANK, seed=number)
    for number, path in enumerate(resized_files(folder)):
        write_adapter(path, RESIZED_RANK, seed=number)


def write_checkpoints(folder: Path) -> None:
    """A base and the same with a change of rank 24 on the usual modules, in bf16."""
    say("Writing two checkpoints of 4.2 GB")
    base, tuned = checkpoints(folder)
    write_base(base)
    change = write_adapter(folder / "change.safetensors", TUNED_RANK)
    shapes = {PREFIX + name: shape for name, shape in base_tensors().items()}
    described = ((key, "BF16", shape) for key, shape in shapes.items())
    with tuned.open("wb") as file:
        file.write(encode_header(described, {"format": "pt"}))
        fused = stream_fused(base, [(change, 1.0)])
        for wanted, (key, tensor) in zip(shapes, fused, strict=True):
            assert key == wanted
            file.write(tensor.contiguous().view(torch.uint8).numpy().data)


def _norms(folder: Path, runs: int) -> Result:
    """Norms and all cosines of adapters in memory, by Gram matrices."""
    adapters = [load_adapter(path) for path in merged_files(folder)]
    factors = {
        name: [found for a in adapters if (found := exact_factors(a.modules[name])) is not None]
        for name in usual_modules()
    }

    def work() -> None:
        grams = side_by_side(partial(gram_of, parts) for parts in factors.values())
        total = torch.stack(list(grams)).sum(0)
        assert total.shape == (MERGED, MERGED)

    return _measured(work, runs)


def _check(folder: Path, runs: int) -> Result:
    """The whole comparison from paths: norms, cosines, and how far directions agree."""
    entries = [(path, _STRENGTH) for path in merged_files(folder)]
    return _measured(lambda: _ignore(compare(entries)), runs)


def _merge(folder: Path, runs: int) -> Result:
    """Concatenation to rank 256 and its best approximation of rank 32, from paths."""
    entries = [(path, _STRENGTH) for path in merged_files(folder)]
    retained: list[float] = []

    def work() -> None:
        found = merged(entries, rank=MERGED_RANK)
        retained.append(found.report.total.retained)

    return _measured(work, runs, lambda: retained[-1])


def _resize(folder: Path, runs: int) -> Result:
    """What the verb calls, with the file written."""
    output = folder / "resized.safetensors"
    retained: list[float] = []
    with Catalog.open(folder / "home" / "catalog.db") as catalog:

        def work() -> None:
            (entry,) = resolve_stack([Entry(str(resized_files(folder)[0]))], catalog)
            _, report = resize(catalog, entry, Rank(NEW_RANK), output, overwrite=True)
            retained.append(report.total.retained)

        return _measured(work, runs, lambda: retained[-1])


def _folder(folder: Path, runs: int) -> Result:
    """The verb on a folder, in a process that has begun: without its imports."""
    source, into = str(resized_files(folder)[0].parent), str(folder / "small")
    words = ["resize", source, "--rank", str(NEW_RANK), "--into", into, "--overwrite", "--quiet"]

    def work() -> None:
        with redirect_stdout(StringIO()):
            assert run(words) == 0

    before, started = _all_cpu_seconds(), time.perf_counter()
    found = _measured(work, runs, warm=False)
    busy = (_all_cpu_seconds() - before) / (time.perf_counter() - started)
    return replace(found, cores=busy)


def _extract(folder: Path, runs: int) -> Result:
    """What the verb calls, with the file written; both checkpoints are registered."""
    output = folder / "extracted.safetensors"
    retained: list[float] = []
    with Catalog.open(folder / "home" / "catalog.db") as catalog:

        def work() -> None:
            _, report = extract_to_file(
                catalog,
                choose_base(catalog, "tuned"),
                choose_base(catalog, "base"),
                Wanted(),
                output,
                overwrite=True,
            )
            retained.append(report.total.retained)

        return _measured(work, runs, lambda: retained[-1], warm=False)


def _read(folder: Path, runs: int) -> Result:
    """Both checkpoints read once, which no extraction can do without."""
    buffer = bytearray(64 * 2**20)

    def work() -> None:
        for path in checkpoints(folder):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    return _measured(work, runs, warm=False)


def _measured(
    work: Callable[[], None],
    runs: int,
    kept: Callable[[], float] = lambda: 0.0,
    *,
    warm: bool = True,
) -> Result:
    """Time `work`, after a run that does not count where `warm`; memory is that of the first run."""
    seconds = []
    with watch() as peak:
        seconds.append(_seconds(work))
    if warm:
        seconds = []
    while len(seconds) < runs:
        seconds.append(_seconds(work))
    return Result(seconds, peak.own, peak.resident, kept())


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _all_cpu_seconds() -> float:
    """What this process and those that it has waited for have used of the cores so far."""
    times = os.times()
    return times.user + times.system + cpu_seconds()


def _ignore(value: object) -> None:
    """A result that only its making counts of."""


def cpu_seconds() -> float:
    """What the processes that this one has waited for have used of the cores so far."""
    times = os.times()
    return times.children_user + times.children_system


ADAPTER_WORKERS: dict[str, Callable[[Path, int], Result]] = {
    "norms": _norms,
    "check": _check,
    "merge": _merge,
    "resize": _resize,
    "folder": _folder,
}
CHECKPOINT_WORKERS: dict[str, Callable[[Path, int], Result]] = {"read": _read, "extract": _extract}
