"""What two checkpoints differ by, one module at a time, and how much of that rounding alone explains.

Each weight is read from its file when its turn has come and let go after, so memory stays at a few of the
largest weights however large the files are. A stored number stands for all that round to it: its error has
the mean square step² / 12, where the step is the distance to its neighbours in the stored format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from lorakit.adapters.tensor_file import DTYPES
from lorakit.counting import counted_rows
from lorakit.errors import BadFile, NotFusable
from lorakit.formats.shards import Stored, read_shards
from lorakit.fusion.pages import empty_result
from lorakit.fusion.products import STRIP_ROWS
from lorakit.sketches.decoding import Rule, decode, rule_of, scaled, turned_back
from lorakit.sketches.raw import bytes_at, bytes_of
from lorakit.sketches.reading import stated_formats
from lorakit.sketches.weights import (
    Matrix,
    block_count,
    find_matrices,
    find_unknown,
    find_vectors,
)
from lorakit.tracing.rounding import step

# Read as they are stored, which is the fastest; the others are decoded.
_PLAIN: Mapping[str, torch.dtype] = MappingProxyType(
    {code: dtype for code, dtype in DTYPES.items() if dtype.is_floating_point}
)
# So many weights tell the mean square of a matrix's steps to a few parts in a thousand.
_SAMPLED = 1 << 16
# Bytes that are compared at a time.
_PIECE = 1 << 25


@dataclass(frozen=True)
class Difference:
    """One matrix of both checkpoints: `delta` = tuned - base, float32 (out, in).

    `energy` is its squared Frobenius norm, `weight_energy` that of the base's weight. `rounding` are the
    mean squares of the errors by which the tuned and the base weight are stored.
    """

    module: str
    delta: torch.Tensor
    energy: float
    weight_energy: float
    rounding: tuple[float, float]


class StoredModel:
    """The matrices, norms and biases of a checkpoint, in any form that lorakit reads; nothing is held."""

    def __init__(self, path: Path) -> None:
        """Read the headers at `path`: a file, a shard, their index or a folder. Raises `BadFile`."""
        shards = read_shards(path)
        self.path = path
        self.matrices = find_matrices(shards)
        self.vectors = find_vectors(shards)
        self.unknown = find_unknown(shards)
        self.blocks = block_count(self.matrices)
        self._stated = stated_formats(shards)

    def shape(self, module: str) -> tuple[int, int] | None:
        """(out, in) of a matrix; None for one that is stored in a form that is no plain matrix."""
        matrix = self.matrices[module]
        return None if matrix is None else matrix.shape

    def raw(self, module: str) -> tuple[Matrix, Rule, np.ndarray]:
        """A matrix as its bytes, (out, bytes of a row), and how they become weights.

        Raises `NotFusable` for numbers that are not understood.
        """
        matrix = self.matrices[module]
        rule = None if matrix is None else rule_of(matrix, _whole, self._stated.get(matrix.layer))
        if matrix is None or rule is None:
            raise NotFusable(
                f"{self.path.name} stores {module} in a way that lorakit does not read.",
                hint="Use the bf16, fp16 or fp8 edition of the checkpoint.",
            )
        rows, width = matrix.shape[0], matrix.shape[1] * rule.item_bytes
        offset = matrix.weight.offset + matrix.first_row * width
        return matrix, rule, bytes_at(matrix.weight.path, offset, rows * width).reshape(rows, width)

    def vector(self, name: str) -> torch.Tensor:
        """A norm or bias, float32 (dim,). Raises `NotFusable` and `BadFile` for what is no plain number."""
        stored = self.vectors[name]
        dtype = _PLAIN.get(stored.info.dtype)
        if dtype is None:
            raise NotFusable(f"{self.path.name} stores {name} as {stored.info.dtype}.")
        found = torch.from_numpy(bytes_of(stored)).view(dtype).float()
        if not bool(torch.isfinite(found).all()):
            raise BadFile(f"{name} holds values that are not finite in {self.path}.")
        return found


def open_pair(tuned: Path, base: Path) -> tuple[StoredModel, StoredModel]:
    """Both checkpoints, of one model and one size.

    Raises `BadFile` for what is no checkpoint, and `NotFusable` where blocks or shapes differ.
    """
    pair = StoredModel(tuned), StoredModel(base)
    if pair[0].blocks != pair[1].blocks:
        raise NotFusable(
            f"{tuned.name} has {counted_rows(pair[0].blocks, 'block')} and {base.name} has {pair[1].blocks}, so there is no "
            "difference to take.",
            hint="Name the checkpoint that it was made from as --base.",
        )
    for name in pair[0].matrices:
        shapes = [one.shape(name) for one in pair if name in one.matrices]
        _require_alike(name, shapes, pair)
    for name in pair[0].vectors.keys() & pair[1].vectors.keys():
        _require_alike(name, [one.vectors[name].info.shape for one in pair], pair)
    return pair


def common_matrices(tuned: StoredModel, base: StoredModel) -> list[str]:
    """The matrices that both have, in the order of the tuned file."""
    return [name for name in tuned.matrices if name in base.matrices]


def unknown_tensors(tuned: StoredModel, base: StoredModel) -> tuple[str, ...]:
    """The tensors under names of no part of the model that are not the same in both, as they are called there.

    Raises `BadFile` for a file that cannot be read.
    """
    found = [
        key
        for name, (key, stored) in tuned.unknown.items()
        if name not in base.unknown or not _same_bytes(stored, base.unknown[name][1])
    ]
    alone = [key for name, (key, _) in base.unknown.items() if name not in tuned.unknown]
    return (*found, *alone)


def difference_of(name: str, tuned: StoredModel, base: StoredModel) -> Difference | None:
    """What the matrix `name` differs by; None where it is the same.

    Raises `BadFile` for values that are not finite.
    """
    before, after = base.raw(name), tuned.raw(name)
    alike = before[1].dtype == after[1].dtype and _is_plain(before[1]) and _is_plain(after[1])
    if alike and np.array_equal(before[2], after[2]):
        return None
    rows, columns = after[0].shape
    delta = empty_result(torch.Size((rows, columns)), torch.float32)
    energy = weight_energy = 0.0
    for start in range(0, rows, STRIP_ROWS):
        piece = slice(start, start + STRIP_ROWS)
        weight = _weights(*before, piece)
        strip = torch.sub(_weights(*after, piece), weight, out=delta[piece])
        weight_energy += energy_of(weight)
        energy += energy_of(strip)
    if not isfinite(energy):
        raise BadFile(f"{name} holds values that are not finite in {tuned.path} or {base.path}.")
    if not energy:
        return None
    return Difference(name, delta, energy, weight_energy, (_rounding(*after), _rounding(*before)))


def energy_of(matrix: torch.Tensor) -> float:
    """The squared Frobenius norm: float32 within a row, float64 over the rows."""
    rows = torch.linalg.vector_norm(matrix, dim=-1).double()
    return float((rows * rows).sum())


def _same_bytes(one: Stored, other: Stored) -> bool:
    """Whether two tensors hold the same, read a piece at a time."""
    if (one.info.dtype, one.info.shape) != (other.info.dtype, other.info.shape):
        return False
    size = one.info.end - one.info.start
    return all(
        np.array_equal(
            bytes_at(one.path, one.offset + at, min(_PIECE, size - at)),
            bytes_at(other.path, other.offset + at, min(_PIECE, size - at)),
        )
        for at in range(0, size, _PIECE)
    )


def _weights(matrix: Matrix, rule: Rule, raw: np.ndarray, piece: slice) -> torch.Tensor:
    """Some rows of bytes as weights, float32."""
    dtype = _PLAIN.get(rule.dtype)
    stored = raw[piece]
    if dtype is not None and _is_plain(rule):
        return torch.from_numpy(stored).view(dtype).float()
    where = np.arange(piece.start, piece.start + len(stored))[:, None] + matrix.first_row
    columns = np.arange(matrix.shape[1])[None]
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = decode(stored, rule.dtype)
        numbers = scaled(numbers, rule, matrix.weight.info.shape, where, columns)
        return torch.from_numpy(turned_back(numbers, rule.rotated))


def _rounding(matrix: Matrix, rule: Rule, raw: np.ndarray) -> float:
    """The mean square of what storing took from a weight, from weights spread over the whole matrix."""
    rows, columns = matrix.shape
    # Odd, so that the places wander through the columns.
    apart = max(1, rows * columns // _SAMPLED) | 1
    places = np.arange(0, rows * columns, apart)
    stored = raw.reshape(-1, rule.item_bytes)[places]
    numbers = decode(stored, rule.dtype)[:, 0]
    steps = (
        np.ones(len(numbers))
        if rule.dtype == "I8"
        else step(numbers, rule.dtype.removesuffix("FNUZ"))
    )
    row, column = np.divmod(places, columns)
    scale = scaled(steps, rule, matrix.weight.info.shape, row + matrix.first_row, column)
    return float(np.mean(np.square(scale, dtype=np.float64)) / 12)


def _is_plain(rule: Rule) -> bool:
    """Whether the stored numbers are the weights."""
    return rule.scale is None and rule.rotated == 1


def _require_alike(
    name: str,
    shapes: list[tuple[int, ...] | None] | list[tuple[int, ...]] | list[tuple[int, int] | None],
    pair: tuple[StoredModel, StoredModel],
) -> None:
    if len(set(shapes)) > 1 and None not in shapes:
        first, second = (list(shape or ()) for shape in shapes)
        raise NotFusable(
            f"{name} has the shape {first} in {pair[0].path.name} and {second} in {pair[1].path.name}.",
            hint="They are of different models; name the checkpoint that it was made from as --base.",
        )


def _whole(stored: Stored) -> bytes:
    return bytes_of(stored).tobytes()
