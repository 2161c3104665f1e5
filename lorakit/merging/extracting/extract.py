"""An adapter from the difference of two checkpoints: the best approximation of each matrix's difference.

Where the difference really is of low rank, as after fusing an adapter, that adapter comes back, up to what
storing the weights has rounded away. Without a wanted rank what rises above that noise is kept (noise.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zlib import crc32

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.counting import counted_rows
from lorakit.errors import LorakitError
from lorakit.fusion.devices import choose_device, computing
from lorakit.merging.extracting.differences import (
    Difference,
    common_matrices,
    difference_of,
    energy_of,
    open_pair,
    unknown_tensors,
)
from lorakit.merging.extracting.differences import StoredModel as Model
from lorakit.merging.extracting.noise import rank_from
from lorakit.merging.extracting.report import ExtractedModule, ExtractionReport
from lorakit.merging.range_finding import Triplets, largest_triplets
from lorakit.merging.ranks import Energy, Rank, rank_rule
from lorakit.merging.result import adapter_of
from lorakit.merging.side_by_side import side_by_side

# (done, total, module)
Progress = Callable[[int, int, str], None]

DEFAULT_MOST = 128
# Where the search for a rank that is not given begins.
_FIRST = 32
# A loss below this share of the energy is lost itself among the roundings of ‖delta‖² and is measured on
# what is left of the difference.
_CANCELS = 1e-5


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
    device: str | torch.device = "cpu",
    on_progress: Progress = lambda done, total, what: None,
) -> Extraction:
    """The adapter that turns the checkpoint `base` into `tuned`, as well as a rank allows.

    Every matrix that differs gets `rank`; or the smallest rank up to `most` that holds the share `energy`
    of its difference, and no more than rises above the noise of rounding; or, with neither, all that
    does. `norms` and `biases` take the differences of these along in full. The factors are rounded to
    `dtype`, and what the report states is true of them. Components are sought on `device` ("cpu", "cuda",
    "cuda:N" or "auto"). Memory stays at a few of the largest weights.

    Raises `BadFile` for what is no checkpoint, `NotFusable` for checkpoints of different models, and
    `LorakitError` where nothing differs, or nothing more than by rounding.
    """
    rule = check_wanted(rank, energy, most)
    where = torch.device(choose_device(str(device), in_float64=True))
    how = How(rule, most, dtype, seed, where)
    pair = open_pair(Path(tuned), Path(base))
    with computing(where):
        found = dict(_matrices(pair, how, on_progress))
    vectors = _vectors(*pair)
    wanted = {n: d for n, d in vectors.items() if (biases if n.endswith(".bias") else norms)}
    told = [facts for _, facts in found.values()]
    told += [_of_vector(name, vector) for name, vector in wanted.items()]
    unknown = unknown_tensors(*pair)
    _require_something(pair, told, vectors, unknown)
    report = ExtractionReport(
        pair[0].path,
        pair[1].path,
        pair[0].blocks,
        str(rule) if rule else "above rounding",
        None if rank is not None else most,
        tuple(told),
        tuple(sorted(vectors.keys() - wanted.keys())),
        tuple(sorted(_one_sided(pair))),
        unknown,
    )
    modules = {name: module for name, (module, _) in found.items() if module is not None}
    return Extraction(_adapter(pair, modules, wanted, dtype), report)


def _matrices(
    pair: tuple[Model, Model], how: How, on_progress: Progress
) -> Iterator[tuple[str, Found]]:
    """Each matrix that differs, with the module that stands for it and the facts of it."""
    names = common_matrices(*pair)
    work = _side_by_side if how.device.type == "cpu" else _ahead_of_the_device
    for done, (name, found) in enumerate(zip(names, work(names, pair, how), strict=True), start=1):
        on_progress(done, len(names), name)
        if found is not None:
            yield name, found


def _side_by_side(
    names: Sequence[str], pair: tuple[Model, Model], how: How
) -> Iterator[Found | None]:
    return side_by_side(partial(_extracted, name, pair, how) for name in names)


def _ahead_of_the_device(
    names: Sequence[str], pair: tuple[Model, Model], how: How
) -> Iterator[Found | None]:
    """The cores read and subtract the next matrices while the device works on one."""
    read = side_by_side(partial(difference_of, name, *pair) for name in names)
    for one in read:
        with torch.no_grad():
            found = None if one is None else _approximated(one, how)
        yield found


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
    """What every matrix is treated by: the rule for its rank and the highest, dtype of factors, seed,
    and where."""

    rule: Rank | Energy | None
    most: int
    dtype: torch.dtype
    seed: int
    device: torch.device


# The module that stands for a matrix's difference, None where it has no rank, and the facts of it.
Found = tuple[LoraModule | None, ExtractedModule]


def _extracted(name: str, pair: tuple[Model, Model], how: How) -> Found | None:
    """What stands for one matrix's difference; None where there is none."""
    difference = difference_of(name, *pair)
    return None if difference is None else _approximated(difference, how)


def _approximated(difference: Difference, how: How) -> Found:
    difference = replace(difference, delta=difference.delta.to(how.device))
    name = difference.module
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
    if module is not None:
        module = LoraModule(module.up.cpu(), module.down.cpu(), module.scale)
    return module, ExtractedModule(
        name,
        kept,
        difference.energy,
        lost,
        difference.weight_energy,
        tuned * rows * columns,
        tuned * kept * (rows + columns - kept),
        fixed is None and kept == how.most < min(rows, columns),
    )


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
    lost = difference.energy - 2 * float(inner) + float(own)
    if lost > _CANCELS * difference.energy:
        return lost
    return energy_of(torch.addmm(difference.delta, up, down, alpha=-1))


def _vectors(tuned: Model, base: Model) -> dict[str, torch.Tensor]:
    """The norms and biases that differ, as differences by canonical tensor name."""
    found = {
        name: tuned.vector(name) - base.vector(name)
        for name in tuned.vectors
        if name in base.vectors
    }
    return {name: delta for name, delta in found.items() if bool(delta.any())}


def _one_sided(pair: tuple[Model, Model]) -> set[str]:
    """The matrices, norms and biases that only one of them has."""
    tuned, base = pair
    return (tuned.matrices.keys() ^ base.matrices.keys()) | (
        tuned.vectors.keys() ^ base.vectors.keys()
    )


def _of_vector(name: str, delta: torch.Tensor) -> ExtractedModule:
    return ExtractedModule(name, None, energy_of(delta), 0.0, 0.0, 0.0, 0.0, False)


def _require_something(
    pair: tuple[Model, Model],
    told: Sequence[ExtractedModule],
    vectors: dict[str, torch.Tensor],
    unknown: Sequence[str],
) -> None:
    tuned, base = (model.path.name for model in pair)
    if any(module.rank != 0 for module in told):
        return
    if told:
        matrices = "1 matrix" if len(told) == 1 else f"{len(told):,} matrices"
        raise LorakitError(
            f"{tuned} and {base} differ by no more than rounding, in {matrices}.",
            hint="--rank N takes the largest part of it all the same.",
        )
    if vectors:
        count = len(vectors)
        which = "one norm or bias" if count == 1 else f"{count:,} norms and biases"
        raise LorakitError(
            f"{tuned} and {base} differ in {which} alone.",
            hint="--norms and --biases take them along.",
        )
    if unknown:
        raise LorakitError(
            f"{tuned} and {base} differ in {counted_rows(len(unknown), 'tensor')} alone whose names are of no part of "
            f"the model, such as {unknown[0]}.",
            hint="No adapter can hold these.",
        )
    raise LorakitError(
        f"{tuned} and {base} hold the same weights, so there is nothing to extract.",
        hint="Name the checkpoint that it was made from as --base.",
    )
