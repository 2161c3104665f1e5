"""What models change, as matrices read from their files one module at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lorakit.adapters.loading import load_adapter
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.whole import RowsOf, all_rows
from lorakit.sketches.whole import weights_in as weights_in

BANDS = 16


def bands(rows: int, columns: int, most: int = 2**20) -> Sequence[slice]:
    """Rows of a matrix (rows, columns) that stand for all: at most a million weights, in 16 equal bands.

    Each band lies in its own sixteenth of the rows, at another place in it, so that no place within the
    heads of an attention is left out. A smaller matrix is taken whole.
    """
    height = max(1, most // columns // BANDS)
    spare = rows // BANDS - height
    if spare <= 0:
        return all_rows(rows, columns)
    starts = (
        number * rows // BANDS + number * 5 % BANDS * spare // (BANDS - 1)
        for number in range(BANDS)
    )
    return [slice(start, start + height) for start in starts]


def change_between(made: Path, before: Path, rows_of: RowsOf = all_rows) -> WeightOf:
    """What separates two checkpoints, module by module, in float32. Raises as `weights_in` does."""
    after, first = weights_in(made, rows_of), weights_in(before, rows_of)

    def change(name: str) -> torch.Tensor:
        return after(name) - first(name)

    return change


def change_of(adapter: Path, weight_of: WeightOf, rows_of: RowsOf = all_rows) -> WeightOf:
    """What an adapter changes at strength 1, in float32, of the whole weights that `weight_of` gives.

    What is returned raises `LookupError` for a module that it does not change. Raises `BadFile` and
    `NotFusable`.
    """
    modules = load_adapter(adapter).modules

    def change(name: str) -> torch.Tensor:
        module = modules[name]
        factors = module.low_rank()
        if factors is None:
            return _rows(module.delta(weight_of(name)).flatten(1), rows_of)
        up, down = factors.up.float(), factors.down.float()
        spans = rows_of(up.shape[0], down.shape[1])
        return torch.cat([up[span] for span in spans]) @ down * factors.scale

    return change


def _rows(matrix: torch.Tensor, rows_of: RowsOf) -> torch.Tensor:
    return torch.cat([matrix[span] for span in rows_of(*matrix.shape)])
