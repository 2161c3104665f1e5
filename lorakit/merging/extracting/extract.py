"""An adapter from the difference of two checkpoints: the best approximation of each matrix's difference.

Where the difference really is of low rank, as after fusing an adapter, that adapter comes back, up to what
storing the weights has rounded away. Rounding adds noise of known size to every weight, and a matrix of
noise alone has singular values up to (√out + √in) σ; what lies below cannot be told from it. Without a
wanted rank, those above Gavish and Donoho's optimal hard threshold for known noise are kept
(arXiv:1305.5870, equation 11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from zlib import crc32

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.errors import LorakitError
from lorakit.merging.extracting.differences import (
    Difference,
    common_matrices,
    difference_of,
    energy_of,
    open_pair,
)
from lorakit.merging.extracting.differences import StoredModel as Model
from lorakit.merging.extracting.report import ExtractedModule, ExtractionReport
from lorakit.merging.range_finding import RankFrom, Triplets, largest_triplets
from lorakit.merging.ranks import Energy, Rank, rank_rule
from lorakit.merging.result import adapter_of
from lorakit.merging.side_by_side import side_by_side

# (done, total, module)
Progress = Callable[[int, int, str], None]

DEFAULT_MOST = 128
# Where the search for a rank that is not given begins.
_FIRST = 32
# Singular values below this share of the largest are what float32 arithmetic leaves.
_ARITHMETIC = 1e-6
# Squares summed in float32 within a row are exact to about this share.
_SUMS = 1e-7


@dataclass(frozen=True)
class Extraction:
    """An adapter made of the difference of two checkpoints, and how exactly it holds it."""

    adapter: Adapter
    report: ExtractionReport


def extract(
    tuned: str | Path,
    base: str | Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    most: int = DEFAULT_MOST,
    norms: bool = False,
    biases: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> Extraction:
    """The adapter that turns the checkpoint `base` into `tuned`, as well as a rank allows.

    Every matrix that differs gets `rank`; or the smallest rank up to `most` that holds the share `energy`
    of its difference, and no more than rises above the noise of rounding; or, with neither, all that
    does. `norms` and `biases` take the differences of these along in full. The factors are rounded to
    `dtype`, and what the report states is true of them. Memory stays at a few of the largest weights.

    Raises `BadFile` for what is no checkpoint, `NotFusable` for checkpoints of different models, and
    `LorakitError` where nothing differs, or nothing more than by rounding.
    """
    rule = check_wanted(rank, energy, most)
    how = How(rule, most, dtype, seed)
    pair = open_pair(Path(tuned), Path(base))
    found = dict(_matrices(pair, how, on_progress))
    vectors = _vectors(*pair)
    wanted = {n: d for n, d in vectors.items() if (biases if n.endswith(".bias") else norms)}
    told = [facts for _, facts in found.values()]
    told += [_of_vector(name, vector) for name, vector in wanted.items()]
    _require_something(pair, told, vectors)
    report = ExtractionReport(
        pair[0].path,
        pair[1].path,
        pair[0].blocks,
        str(rule) if rule else "above rounding",
        None if rank is not None else most,
        tuple(told),
        tuple(sorted(vectors.keys() - wanted.keys())),
        tuple(sorted(pair[0].matrices.keys() ^ pair[1].matrices.keys())),
    )
    modules = {name: module for name, (module, _) in found.items() if module is not None}
    return Extraction(_adapter(pair, modules, wanted, dtype), report)


def _matrices(
    pair: tuple[Model, Model], how: How, on_progress: Progress
) -> Iterator[tuple[str, tuple[LoraModule | None, ExtractedModule]]]:
    """Each matrix that differs, with the module that stands for it and the facts of it."""
    names = common_matrices(*pair)
    jobs = (partial(_extracted, name, pair, how) for name in names)
    for done, (name, found) in enumerate(zip(names, side_by_side(jobs), strict=True), start=1):
        on_progress(done, len(names), name)
        if found is not None:
            yield name, found


def _adapter(
    pair: tuple[Model, Model],
    matrices: Mapping[str, AdapterModule],
    vectors: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
) -> Adapter:
    modules: dict[str, AdapterModule] = dict(matrices)
    biases: dict[str, AdapterModule] = {}
    for name, delta in vectors.items():
        module, _, leaf = name.rpartition(".")
        (biases if leaf == "bias" else modules)[module] = DiffModule(delta.to(dtype))
    return adapter_of(
        modules,
        biases,
        path=Path("extracted"),
        blocks=pair[0].blocks,
        made_of=(pair[0].path, pair[1].path),
    )


def check_wanted(rank: int | None, energy: float | None, most: int) -> Rank | Energy | None:
    """The rule that is asked for, None for the ranks above rounding. Raises `BadUsage`."""
    Rank(most)
    rule = rank_rule(rank, energy)
    return rule if isinstance(rule, Rank | Energy) else None


@dataclass(frozen=True)
class How:
    """What every matrix is treated by: the rule for its rank and the highest, dtype of factors, seed."""

    rule: Rank | Energy | None
    most: int
    dtype: torch.dtype
    seed: int


def _extracted(
    name: str, pair: tuple[Model, Model], how: How
) -> tuple[LoraModule | None, ExtractedModule] | None:
    """The module that stands for one matrix's difference; None where there is none."""
    difference = difference_of(name, *pair)
    if difference is None:
        return None
    fixed = how.rule.count if isinstance(how.rule, Rank) else None
    found = largest_triplets(
        difference.delta,
        rank_from(difference, how.rule),
        first=fixed or _FIRST,
        most=fixed or how.most,
        # Each module draws its own numbers, whatever other modules there are.
        seed=how.seed ^ crc32(name.encode()),
    )
    kept = len(found.s)
    module = _module(found, how.dtype) if kept else None
    lost = difference.energy if module is None else _lost(difference, module)
    tuned, _ = difference.rounding
    rows, columns = difference.delta.shape
    return module, ExtractedModule(
        name,
        kept,
        difference.energy,
        lost,
        difference.weight_energy,
        tuned * rows * columns,
        tuned * kept * (rows + columns - kept),
        fixed is None and kept == min(how.most, rows, columns),
    )


def rank_from(difference: Difference, rule: Rank | Energy | None) -> RankFrom:
    """What `largest_triplets` asks: how many of the values found so far are wanted, None for more."""

    def wanted(values: torch.Tensor) -> int | None:
        squares = values.double().square()
        there = int((values > _ARITHMETIC * values[:1]).sum())
        if isinstance(rule, Rank):
            return min(rule.count, there)
        above = above_rounding(squares, difference)
        found = None if above == len(values) else above
        if isinstance(rule, Energy):
            enough = squares.cumsum(0) >= rule.share * difference.energy
            if bool(enough.any()):
                share = int(enough.to(torch.int8).argmax()) + 1
                found = share if found is None else min(share, found)
        return found if found is None else min(found, there)

    return wanted


def above_rounding(squares: torch.Tensor, difference: Difference) -> int:
    """How many of the squared singular values `squares`, the largest first, rise above rounding.

    The noise is that of rounding both checkpoints, or what is left beyond the values kept, whichever is
    less: a base that the other was made from as it is stored adds none.
    """
    rows, columns = difference.delta.shape
    variance = sum(difference.rounding)
    kept = -1
    while True:
        found = int((squares > threshold(rows, columns) ** 2 * variance).sum())
        if found <= kept or found == len(squares):
            return max(found, kept)
        kept = found
        left = difference.energy - float(squares[:kept].sum())
        left = max(left, _SUMS * difference.energy)
        room = max(1, (rows - kept) * (columns - kept))
        variance = min(variance, left / room)


def threshold(rows: int, columns: int) -> float:
    """Gavish and Donoho's τ for noise of deviation 1, where singular values are worth keeping."""
    small, large = sorted((rows, columns))
    ratio = small / large
    root = sqrt(ratio**2 + 14 * ratio + 1)
    return sqrt(2 * (ratio + 1) + 8 * ratio / (ratio + 1 + root)) * sqrt(large)


def _module(found: Triplets, dtype: torch.dtype) -> LoraModule:
    """Both factors of one size, √s each, which suits 16-bit floats."""
    root = found.s.sqrt()
    return LoraModule(
        (found.u * root).to(dtype).contiguous(),
        (found.v * root).T.to(dtype).contiguous(),
        1.0,
    )


def _lost(difference: Difference, module: LoraModule) -> float:
    """‖delta - up down‖² = ‖delta‖² - 2 ⟨delta, up down⟩ + ‖up down‖², of the factors as they are."""
    up, down = module.up.float(), module.down.float()
    inner = ((up.T @ difference.delta).double() * down.double()).sum()
    own = ((up.T @ up).double() * (down @ down.T).double()).sum()
    return max(0.0, difference.energy - 2 * float(inner) + float(own))


def _vectors(tuned: Model, base: Model) -> dict[str, torch.Tensor]:
    """The norms and biases that differ, as differences by canonical tensor name."""
    found = {
        name: tuned.vector(name) - base.vector(name)
        for name in tuned.vectors
        if name in base.vectors
    }
    return {name: delta for name, delta in found.items() if bool(delta.any())}


def _of_vector(name: str, delta: torch.Tensor) -> ExtractedModule:
    return ExtractedModule(name, None, energy_of(delta), 0.0, 0.0, 0.0, 0.0, False)


def _require_something(
    pair: tuple[Model, Model], told: Sequence[ExtractedModule], vectors: dict[str, torch.Tensor]
) -> None:
    tuned, base = (model.path.name for model in pair)
    if any(module.rank != 0 for module in told):
        return
    if told:
        raise LorakitError(
            f"{tuned} and {base} differ by no more than rounding, in {len(told)} matrices.",
            hint="--rank N takes the largest part of it all the same.",
        )
    if vectors:
        raise LorakitError(
            f"{tuned} and {base} differ in {len(vectors)} norms and biases alone.",
            hint="--norms and --biases take them along.",
        )
    raise LorakitError(
        f"{tuned} and {base} hold the same weights, so there is nothing to extract.",
        hint="Name the checkpoint that it was made from as --base.",
    )
