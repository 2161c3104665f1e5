"""The strength of a known change from every weight, not from samples: for what is small or noisy.

The same estimate as in `coefficient`, of two billion values in place of a third of a million, so its error
is some eighty times smaller. Only sums over modules are kept, so a pass over the files is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from lorakit.sketches.adapters import WeightOf
from lorakit.tracing.rounding import fraction_bits

# As in `coefficient`: where rounding steps are at most this part of the change, nothing was lost to them.
_FINE = 0.5
_WEAKEST = 0.05
_ROUNDS = 4
_LEAST_UNEXPLAINED = 1e-6


@dataclass(frozen=True)
class ModuleSums:
    """Sums over the fine weights of one module: of products of what is observed (y) and the change (d)."""

    name: str
    count: int
    yd: float
    dd: float
    yy: float


@dataclass(frozen=True)
class DeepStrength:
    """The coefficient with its standard error, and how many weights of how many modules it rests on."""

    value: float
    error: float
    weights: int
    modules: int


def deep_strength(
    suspect: WeightOf,
    reference: WeightOf,
    change_of: WeightOf,
    modules: Iterable[str],
    about: float,
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> DeepStrength | None:
    """How much of a change lies between two models, given roughly (`about`) how much it is.

    The three give weights and changes, (out, in), by canonical module name; a module that one of them
    does not have is passed over. None when all are.
    """
    names = list(modules)
    sums = list(_all_sums(suspect, reference, change_of, names, about, on_progress))
    if not sums:
        return None
    value = about
    for _ in range(_ROUNDS):
        weights = [_weight(found, value) for found in sums]
        total = sum(w * found.dd for w, found in zip(weights, sums, strict=True))
        value = sum(w * found.yd for w, found in zip(weights, sums, strict=True)) / total
    scores = [w * (found.yd - value * found.dd) for w, found in zip(weights, sums, strict=True)]
    error = sum(score**2 for score in scores) ** 0.5 / total
    return DeepStrength(value, error, sum(found.count for found in sums), len(sums))


def _weight(found: ModuleSums, value: float) -> float:
    left = found.yy - 2 * value * found.yd + value**2 * found.dd
    return found.count / max(left, _LEAST_UNEXPLAINED * found.dd, 1e-30)


def _all_sums(
    suspect: WeightOf,
    reference: WeightOf,
    change_of: WeightOf,
    names: list[str],
    about: float,
    on_progress: Callable[[int, int, str], None],
) -> Iterator[ModuleSums]:
    for done, name in enumerate(names, start=1):
        try:
            before = reference(name).float()
            change = change_of(name).float()
            observed = suspect(name).float() - before
        except (LookupError, RuntimeError):
            # Not there, or of another shape.
            continue
        found = _sums(name, observed, change, before, about)
        if found.count and found.dd:
            yield found
        on_progress(done, len(names), name)


def _sums(
    name: str, observed: torch.Tensor, change: torch.Tensor, before: torch.Tensor, about: float
) -> ModuleSums:
    size = float(change.square().mean().sqrt())
    finest = _FINE * min(max(abs(about), _WEAKEST), 1.0) * size
    # The step of bfloat16 is 2**-7 of the power of two below; those of at most `finest` are the small ones.
    exponent = torch.tensor(max(finest, 1e-30)).log2().floor()
    fine = before.abs() < torch.exp2(exponent + fraction_bits("BF16") + 1)
    y, d = observed[fine], change[fine]
    return ModuleSums(
        name,
        int(y.numel()),
        float(torch.dot(y, d)),
        float(torch.dot(d, d)),
        float(torch.dot(y, y)),
    )
