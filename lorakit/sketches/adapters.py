"""The sketch of an adapter: its delta at strength 1, at the places where checkpoints are looked at.

Additive algorithms are worked out at those places alone: one short product for each run. Others need the
weight that they change, so they need the base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch

from lorakit.adapters.adapter import Adapter, AdapterModule, LowRank
from lorakit.adapters.full import DiffModule, SumModule
from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule, factor
from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.sketches.one_core import one_core
from lorakit.sketches.positions import Positions, positions
from lorakit.sketches.sketch import Sketch
from lorakit.sketches.weights import block_count, is_norm

# Gives the base's weight of a module by canonical name, (out, in), any float dtype, on the CPU; raises
# LookupError where the base has none.
WeightOf = Callable[[str], torch.Tensor]

_FLOAT = torch.zeros((), dtype=torch.float32)


def sketch_adapter(adapter: Adapter, weight_of: WeightOf | None = None) -> Sketch:
    """The adapter's change at strength 1; modules of the text encoder and norms are left out.

    Modules whose change depends on the weight (DoRA, OFT, IA3, GLoRA, T-LoRA, replacements) are worked
    out against the weight that `weight_of` gives; without it they are undecided.
    """
    values: dict[str, np.ndarray] = {}
    modules = dict(_matrices(adapter))
    with one_core():
        taken = {name: _values(name, module) for name, module in modules.items()}
    for name, found in taken.items():
        if found is None and weight_of is not None:
            found = _against_weight(name, modules[name], weight_of)
        if found is not None and np.isfinite(found).all():
            values[name] = found
    return _sketch(adapter, values, tuple(name for name in modules if name not in values))


def null_sketches(adapter: Adapter, seed: int, count: int) -> list[Sketch]:
    """`count` sketches of deltas as large and of as low rank as the adapter's, but unrelated to it.

    In turn, every low-rank module has the signs of its components drawn anew (up column k times ±1), or
    its components paired anew (up column k with another row of down). Where there is one component only,
    or a module is not of low rank, the sign of the whole module is drawn. Modules that need a weight are
    left out. The same seed gives the same sketches.
    """
    draw = np.random.default_rng(seed)
    found: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
    for name, module in _matrices(adapter):
        nulls = _nulls(name, module, draw, count)
        if nulls is not None and np.isfinite(nulls).all():
            for values, null in zip(found, nulls, strict=True):
                values[name] = null
    return [_sketch(adapter, values, ()) for values in found]


def _matrices(adapter: Adapter) -> Iterator[tuple[str, AdapterModule]]:
    for name, module in adapter.modules.items():
        if anima.component_of(name) != "text_encoder" and not is_norm(name):
            yield name, module


def _sketch(adapter: Adapter, values: dict[str, np.ndarray], undecided: tuple[str, ...]) -> Sketch:
    dtypes = Counter(module.dtype for module in adapter.report.modules)
    blocks = adapter.report.model_blocks or block_count(adapter.modules)
    return Sketch(values, dtypes.most_common(1)[0][0] if dtypes else "F32", blocks, undecided)


def _values(name: str, module: AdapterModule) -> np.ndarray | None:
    """The change of a module at its positions, (n,); None where it depends on the weight."""
    thin = module.low_rank()
    if thin is not None:
        return _flat(_product(name, thin))
    if isinstance(module, SumModule):
        found = [_values(name, part) for part in module.modules]
        known = [part for part in found if part is not None]
        return np.stack(known).sum(axis=0) if len(known) == len(found) else None
    if isinstance(module, DiffModule):
        return _taken(name, module.diff)
    if isinstance(module, LohaModule):
        first, second = (_product(name, _side(module, side)) for side in "12")
        return _flat(first * second * module.parts.scale)
    return _kronecker(name, module) if isinstance(module, LokrModule) else None


def _product(name: str, thin: LowRank) -> torch.Tensor:
    """scale * up @ down at the runs of its shape, (runs, length)."""
    rows, runs, length = _runs(positions(name, (thin.up.shape[0], thin.down.shape[1])))
    # What is looked at is gathered from the mapped file before it is widened, run by run: a run begins at a
    # multiple of its length, and copying it whole takes a tenth of the time that its numbers would take.
    up = thin.up[rows].float()
    count = thin.down.shape[1] // length if length else 0
    parts = thin.down[:, : count * length].reshape(thin.down.shape[0], count, max(length, 1))
    down = parts.index_select(1, runs).float()
    return torch.einsum("nr,rnl->nl", up, down) * thin.scale


def _side(module: LohaModule, side: str) -> LowRank:
    """One of the two products; a Tucker core of (rank, rank, 1, 1) goes to its left factor."""
    a, b = (module.parts[f"hada_w{side}_{half}"].float() for half in "ab")
    core = module.parts.get(f"hada_t{side}")
    return LowRank(a if core is None else a.T @ core.float().flatten(1), b, 1.0)


def _kronecker(name: str, module: LokrModule) -> np.ndarray:
    first, second = (factor(module.parts, side, _FLOAT) for side in "12")
    tall, wide = second.shape
    rows, columns = _index(name, first.shape[0] * tall, first.shape[1] * wide)
    rows = rows[:, None]
    found = first[rows // tall, columns // wide] * second[rows % tall, columns % wide]
    return _flat(found * module.parts.scale)


def _against_weight(name: str, module: AdapterModule, weight_of: WeightOf) -> np.ndarray | None:
    """The same from the whole delta; None where the base has no such weight, or it does not fit."""
    try:
        return _taken(name, module.delta(weight_of(name).float()))
    except (LookupError, RuntimeError, ValueError, BadFile):
        return None


def _taken(name: str, matrix: torch.Tensor) -> np.ndarray:
    """A whole matrix at its runs."""
    matrix = matrix.flatten(1)
    rows, columns = _index(name, *matrix.shape)
    return _flat(matrix[rows[:, None], columns].float())


def _nulls(
    name: str, module: AdapterModule, draw: np.random.Generator, count: int
) -> np.ndarray | None:
    """(count, n) values of deltas that are not the module's."""
    thin = module.low_rank()
    rank = 1 if thin is None else thin.down.shape[0]
    signs = draw.choice(np.array([-1, 1], np.float32), (count, rank))
    shifts = draw.integers(1, rank, count) if rank > 1 else np.zeros(count, np.int64)
    order = draw.permutation(rank)
    if thin is None or rank == 1:
        found = _values(name, module)
        return None if found is None else found * signs[:, :1]
    rows, columns = _index(name, thin.up.shape[0], thin.down.shape[1])
    up, down = thin.up[rows].float().numpy() * thin.scale, thin.down[:, columns].float().numpy()
    parts = np.einsum("nr,rnl->rnl", up, down).reshape(rank, -1)
    flipped = signs[0::2] @ parts
    nulls = np.empty((count, parts.shape[1]), np.float32)
    nulls[0::2] = flipped
    for number in range(1, count, 2):
        # A shift along a random order pairs no component with its own partner.
        partner = np.empty(rank, np.intp)
        partner[order] = np.roll(order, shifts[number])
        nulls[number] = np.einsum("nr,rnl->nl", up[:, partner], down).ravel()
    return nulls


def _flat(values: torch.Tensor) -> np.ndarray:
    flat: np.ndarray = values.numpy().ravel()
    return flat


@lru_cache(maxsize=256)
def _runs(places: Positions) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows (runs,), the number of each run in its row (runs,), and how long runs are."""
    length = places.length
    numbers = [column // length for column in places.columns] if length else []
    return (
        torch.tensor(places.rows, dtype=torch.long),
        torch.tensor(numbers, dtype=torch.long),
        length,
    )


@lru_cache(maxsize=256)
def _tensors(places: Positions) -> tuple[torch.Tensor, torch.Tensor]:
    columns = torch.tensor(places.columns, dtype=torch.long)[:, None] + torch.arange(places.length)
    return torch.tensor(places.rows, dtype=torch.long), columns


def _index(name: str, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (runs,) and columns (runs, length) to look at in a matrix."""
    return _tensors(positions(name, (rows, columns)))
