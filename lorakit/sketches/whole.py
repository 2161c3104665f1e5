"""Whole matrices of a checkpoint, or some rows of each, in any form that sketches are taken of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from lorakit.formats.shards import Stored, read_shards
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.decoding import Rule, decode, rule_of, scaled, turned_back
from lorakit.sketches.raw import bytes_at, bytes_of
from lorakit.sketches.reading import stated_formats
from lorakit.sketches.weights import Matrix, find_matrices

# Which rows are wanted of a matrix (out, in): spans that do not overlap, in order.
RowsOf: TypeAlias = Callable[[int, int], Sequence[slice]]


def all_rows(rows: int, columns: int) -> Sequence[slice]:
    """Every row, as one span."""
    return (slice(0, rows),)


def weights_in(path: Path, rows_of: RowsOf = all_rows) -> WeightOf:
    """The weights of the checkpoint at `path` by canonical module name, float32 (out, in), read when asked.

    Of each matrix only the rows that `rows_of` wants are read, one below the other.
    `path` is a file, one of its shards, their index, or a folder of them. What is returned raises
    `LookupError` for a module that is not there, or whose numbers are not understood, and `BadFile` when
    the file cannot be read. Raises `BadFile` for what is no Anima checkpoint.
    """
    shards = read_shards(path)
    matrices, stated = find_matrices(shards), stated_formats(shards)

    def read(stored: Stored) -> bytes:
        return bytes_of(stored).tobytes()

    def weight(name: str) -> torch.Tensor:
        matrix = matrices.get(name)
        rule = None if matrix is None else rule_of(matrix, read, stated.get(matrix.layer))
        if matrix is None or rule is None:
            raise LookupError(name)
        return torch.from_numpy(_values(matrix, rule, rows_of(*matrix.shape)))

    return weight


def _values(matrix: Matrix, rule: Rule, spans: Sequence[slice]) -> np.ndarray:
    columns = matrix.shape[1]
    width = columns * rule.item_bytes
    starts = [matrix.first_row + span.start for span in spans]
    counts = [span.stop - span.start for span in spans]
    read = [
        bytes_at(matrix.weight.path, matrix.weight.offset + start * width, count * width)
        for start, count in zip(starts, counts, strict=True)
    ]
    raw = np.concatenate(read).reshape(-1, width)
    with np.errstate(over="ignore", invalid="ignore"):
        where = np.concatenate([np.arange(a, a + n) for a, n in zip(starts, counts, strict=True)])
        numbers = decode(raw, rule.dtype)
        shape = matrix.weight.info.shape
        return turned_back(
            scaled(numbers, rule, shape, where[:, None], np.arange(columns)[None]), rule.rotated
        )
