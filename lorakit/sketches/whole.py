"""Whole matrices of a checkpoint, in any form that sketches are taken of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lorakit.errors import BadFile
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.decoding import Rule, decode, rule_of, scaled, turned_back
from lorakit.sketches.reading import stated_formats
from lorakit.sketches.shards import Stored, read_shards
from lorakit.sketches.weights import Matrix, find_matrices


def weights_in(path: Path) -> WeightOf:
    """The weights of the checkpoint at `path` by canonical module name, float32 (out, in), read when asked.

    `path` is a file, one of its shards, their index, or a folder of them. What is returned raises
    `LookupError` for a module that is not there, or whose numbers are not understood, and `BadFile` when
    the file cannot be read. Raises `BadFile` for what is no Anima checkpoint.
    """
    shards = read_shards(path)
    matrices, stated = find_matrices(shards), stated_formats(shards)

    def read(stored: Stored) -> bytes:
        return _bytes(stored, stored.offset, stored.info.end - stored.info.start).tobytes()

    def weight(name: str) -> torch.Tensor:
        matrix = matrices.get(name)
        rule = None if matrix is None else rule_of(matrix, read, stated.get(matrix.layer))
        if matrix is None or rule is None:
            raise LookupError(name)
        return torch.from_numpy(_values(matrix, rule))

    return weight


def _values(matrix: Matrix, rule: Rule) -> np.ndarray:
    rows, columns = matrix.shape
    width = columns * rule.item_bytes
    offset = matrix.weight.offset + matrix.first_row * width
    raw = _bytes(matrix.weight, offset, rows * width).reshape(rows, width)
    with np.errstate(over="ignore", invalid="ignore"):
        where = np.arange(matrix.first_row, matrix.first_row + rows)[:, None]
        numbers = decode(raw, rule.dtype)
        shape = matrix.weight.info.shape
        return turned_back(
            scaled(numbers, rule, shape, where, np.arange(columns)[None]), rule.rotated
        )


def _bytes(stored: Stored, offset: int, count: int) -> np.ndarray:
    try:
        found = np.fromfile(stored.path, np.uint8, count, offset=offset)
    except OSError as error:
        raise BadFile(f"{stored.path} cannot be read: {error.strerror or error}.") from error
    if len(found) != count:
        raise BadFile(f"{stored.path} was cut short while it was read.", hint="Download it again.")
    return found
