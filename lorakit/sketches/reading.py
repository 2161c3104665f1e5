"""Taking the sketch of a checkpoint: the header, then a few runs of every matrix, and nothing else.

A file of 4 GB gives about eleven thousand runs of 32 weights, so some 40 MB of pages are touched.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lorakit.errors import BadFile
from lorakit.formats.shards import Shards, Stored, read_shards
from lorakit.sketches.decoding import Rule, decode, rule_of, scaled, turned_back
from lorakit.sketches.positions import Positions, positions
from lorakit.sketches.sketch import Sketch
from lorakit.sketches.weights import Matrix, block_count, find_matrices


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes to be read from a file into a buffer."""

    path: Path
    offset: int
    into: memoryview


@dataclass(frozen=True, slots=True)
class _Sample:
    """A matrix with the bytes of its runs, each from column `starts` on and `width` numbers wide.

    Where groups of columns have been turned together, whole groups are read.
    """

    matrix: Matrix
    rule: Rule
    places: Positions
    starts: tuple[int, ...]
    width: int
    raw: bytearray

    def runs(self) -> Iterator[_Run]:
        """The runs as bytes of a file."""
        weight, size = self.matrix.weight, self.rule.item_bytes
        row_bytes, run_bytes = weight.info.shape[1] * size, self.width * size
        buffer = memoryview(self.raw)
        for number, (row, start) in enumerate(zip(self.places.rows, self.starts, strict=True)):
            offset = weight.offset + (self.matrix.first_row + row) * row_bytes + start * size
            yield _Run(
                weight.path, offset, buffer[number * run_bytes : number * run_bytes + run_bytes]
            )

    def values(self) -> np.ndarray:
        """The weights at the positions, float32 (n,)."""
        count = len(self.starts)
        raw = np.frombuffer(self.raw, np.uint8).reshape(count, -1)
        starts = np.array(self.starts, np.intp).reshape(count, 1)
        rows = np.array(self.places.rows, np.intp).reshape(count, 1) + self.matrix.first_row
        columns = starts + np.arange(self.width)
        shape = self.matrix.weight.info.shape
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = scaled(decode(raw, self.rule.dtype), self.rule, shape, rows, columns)
            whole = turned_back(numbers, self.rule.rotated)
        skipped = np.array(self.places.columns, np.intp).reshape(count, 1) - starts
        return np.take_along_axis(whole, skipped + np.arange(self.places.length), 1).ravel()


def sketch_checkpoint(path: str | Path) -> Sketch:
    """The sketch of the model at `path`: a file, one of its shards, their index, or a folder of them.

    Any prefix, the original's names and diffusers', and every dtype of `lorakit.sketches.decoding`.
    Raises `BadFile` when it cannot be read or holds no Anima model.
    """
    shards = read_shards(Path(path))
    matrices = find_matrices(shards)
    samples = _samples(matrices, stated_formats(shards))
    _read([run for sample in samples.values() for run in sample.runs()])
    return _sketch(matrices, samples)


def stated_formats(shards: Shards) -> Mapping[str, Any]:
    """What the header says of each layer's quantisation, by the file's own names (ComfyUI's way)."""
    try:
        document = json.loads(shards.metadata.get("_quantization_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    layers = document.get("layers") if isinstance(document, dict) else None
    return layers if isinstance(layers, dict) else {}


def _samples(
    matrices: Mapping[str, Matrix | None], stated: Mapping[str, Any]
) -> dict[str, _Sample]:
    """What is to be read of each matrix whose numbers are understood."""
    samples: dict[str, _Sample] = {}
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}

        def read(stored: Stored) -> bytes:
            if stored.path not in files:
                files[stored.path] = stack.enter_context(_opened(stored.path))
            content = bytearray(stored.info.end - stored.info.start)
            _fill(files[stored.path], _Run(stored.path, stored.offset, memoryview(content)))
            return bytes(content)

        for name, matrix in matrices.items():
            rule = matrix and rule_of(matrix, read, stated.get(matrix.layer))
            if matrix and rule:
                samples[name] = _sample(name, matrix, rule)
    return samples


def _sample(name: str, matrix: Matrix, rule: Rule) -> _Sample:
    places = positions(name, matrix.shape)
    starts = tuple(column // rule.rotated * rule.rotated for column in places.columns)
    width = max(places.length, rule.rotated)
    raw = bytearray(len(starts) * width * rule.item_bytes)
    return _Sample(matrix, rule, places, starts, width, raw)


def _sketch(matrices: Mapping[str, Matrix | None], samples: Mapping[str, _Sample]) -> Sketch:
    values: dict[str, np.ndarray] = {}
    dtypes: Counter[str] = Counter()
    for name, sample in samples.items():
        found = sample.values()
        # A damaged weight says nothing, and would drown the others in every sum.
        if np.isfinite(found).all():
            values[name] = found
            dtypes[sample.rule.dtype] += found.size
    stored = Counter(matrix.weight.info.dtype for matrix in matrices.values() if matrix)
    dtype = (dtypes or stored or Counter(["U8"])).most_common(1)[0][0]
    undecided = tuple(name for name in matrices if name not in values)
    return Sketch(values, dtype, block_count(matrices), undecided)


def _read(runs: list[_Run]) -> None:
    """Fill all buffers, file by file from front to back."""
    runs.sort(key=attrgetter("path", "offset"))
    for path, group in groupby(runs, key=attrgetter("path")):
        wanted = list(group)
        with _opened(path) as file:
            _announce(file, wanted)
            for run in wanted:
                _fill(file, run)


def _announce(file: BinaryIO, runs: Iterable[_Run]) -> None:
    """Tell the system all that will be read, so that a drive works on many requests at once.

    Threads do the same for more: on a warm file they only get into each other's way.
    """
    if hasattr(os, "posix_fadvise"):
        for run in runs:
            os.posix_fadvise(file.fileno(), run.offset, len(run.into), os.POSIX_FADV_WILLNEED)


def _fill(file: BinaryIO, run: _Run) -> None:
    try:
        file.seek(run.offset)
        count = file.readinto(run.into)  # type: ignore[attr-defined]
    except OSError as error:
        raise BadFile(f"{run.path} cannot be read: {error.strerror or error}.") from error
    if count != len(run.into):
        raise BadFile(f"{run.path} was cut short while it was read.", hint="Download it again.")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file for reading here and there: nothing is read ahead, where the system can be told so."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    with file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        yield file
