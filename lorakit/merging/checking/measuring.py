"""The inner products of all entries' changes, module by module, and how far their directions agree.

Changes of thin factors are laid side by side, [B1 | B2 | ...] and [A1; A2; ...], so that two products give
every pair at once: ⟨Δi, Δj⟩ = Σ (BiᵀBj) ∘ (Ai Ajᵀ). Products are in float32, sums in float64, so an inner
product is right to about a millionth of both norms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from lorakit.adapters.adapter import LowRank
from lorakit.adapters.needing_weight import needs_weight
from lorakit.errors import NotFusable
from lorakit.fusion.devices import computing
from lorakit.merging.checking.changes import CPU, Form, form_of, inner, shape_of
from lorakit.merging.checking.joining import join, with_directions
from lorakit.merging.checking.overlap import Joined, Overlap, overlaps
from lorakit.merging.checking.pairing import Part
from lorakit.merging.checking.refusing import refuse_values, require_alike
from lorakit.merging.side_by_side import side_by_side

Progress = Callable[[int, int, str], None]
# Gives the base's weight of a module by canonical name, (out, in); raises LookupError where it has none.
WeightOf = Callable[[str], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Measured:
    """`names` are the modules that are changed, M of them; k entries.

    `grams` (M, k, k): inner products of the changes at strength 1, float64. `units` (M, k): what each
    entry's refinements make of strength 1 there. `chance` (M, k, k): the variances of the inner products
    between strangers. `places` (M,): the number of weights. `overlap` says how far directions agree, by
    module. `left_out` are (label, module) pairs whose change depends on a base
    that is not there, or does not fit it; `spread_out` those whose change needs too many directions to
    compare them.
    """

    names: tuple[str, ...]
    grams: torch.Tensor
    units: torch.Tensor
    chance: torch.Tensor
    places: torch.Tensor
    overlap: Mapping[str, Overlap]
    left_out: tuple[tuple[str, str], ...]
    spread_out: tuple[tuple[str, str], ...] = ()


def measure(
    parts: Sequence[Part],
    weight_of: WeightOf | None = None,
    on_progress: Progress = lambda done, total, what: None,
    device: torch.device = CPU,
) -> Measured:
    """Measure every module that one of `parts` changes.

    Products of the size of a weight's sides are made on `device`, those of the size of the ranks on the
    CPU. Raises `BadFile` for values that are not finite, and `NotFusable` for a change that does not fit.
    """
    names = list(dict.fromkeys(name for part in parts for name in part.matrices))
    own = [set(part.matrices) for part in parts]
    grams, units, places, kept = [], [], [], []
    joined: dict[str, Joined] = {}
    left_out: list[tuple[str, str]] = []
    spread_out: list[tuple[str, str]] = []
    jobs = (partial(_measure_module, parts, own, name, weight_of, device) for name in names)
    with computing(device):
        done_jobs = side_by_side(jobs, cores=None if device.type == "cpu" else 1)
        for done, (name, one) in enumerate(zip(names, done_jobs, strict=True), start=1):
            left_out += [(label, name) for label in one.without_base]
            spread_out += [(label, name) for label in one.spread_out]
            if one.gram is not None:
                kept.append(name)
                grams.append(one.gram)
                units.append([part.units.get(name, 0.0) for part in parts])
                places.append(one.places)
            if one.joined is not None:
                joined[name] = one.joined
            on_progress(done, len(names), name)
    with torch.no_grad():
        overlap = overlaps(joined, len(parts))
    count = len(parts)
    table = torch.stack(grams) if grams else torch.zeros(0, count, count, dtype=torch.float64)
    sizes = torch.tensor(places, dtype=torch.float64)
    return Measured(
        tuple(kept),
        table,
        torch.tensor(units, dtype=torch.float64).reshape(-1, count),
        _chance(kept, table, sizes, overlap),
        sizes,
        overlap,
        tuple(left_out),
        tuple(spread_out),
    )


@dataclass(frozen=True, eq=False)
class _Module:
    """What was measured of one module; `gram` is None where no entry's change is at hand."""

    gram: torch.Tensor | None
    joined: Joined | None
    places: int
    without_base: tuple[str, ...]
    spread_out: tuple[str, ...] = ()


def _measure_module(
    parts: Sequence[Part],
    own: Sequence[set[str]],
    name: str,
    weight_of: WeightOf | None,
    device: torch.device,
) -> _Module:
    forms: list[Form | None] = [
        _form(part, name, weight_of, device) if name in mine else None
        for part, mine in zip(parts, own, strict=True)
    ]
    without_base = tuple(
        part.label
        for part, mine, form in zip(parts, own, forms, strict=True)
        if name in mine and form is None
    )
    present = [form for form in forms if form is not None]
    if not present:
        return _Module(None, None, 0, without_base)
    require_alike(parts, forms, name)
    gram, thin = _gram(forms)
    if not bool(torch.isfinite(gram).all()):
        refuse_values(parts, forms, name)
    out, inside = shape_of(present[0])
    found, places = with_directions(forms, thin)
    spread_out = tuple(parts[at].label for at in places)
    return _Module(gram, found, out * inside, without_base, spread_out)


def _chance(
    names: Sequence[str],
    grams: torch.Tensor,
    places: torch.Tensor,
    overlap: Mapping[str, Overlap],
) -> torch.Tensor:
    """The variances of ⟨Δi, Δj⟩ between strangers, (M, k, k).

    ‖Δi‖²‖Δj‖² / (out · in) where both sides are turned at random, which is all that is known of changes
    without thin factors; more where they share a side (`Overlap.spread`).
    """
    own = grams.diagonal(dim1=1, dim2=2)
    found = own[:, :, None] * own[:, None, :] / places[:, None, None]
    for place, name in enumerate(names):
        for (i, j), value in overlap[name].spread.items() if name in overlap else ():
            found[place, i, j] = found[place, j, i] = max(value, float(found[place, i, j]))
    return found


def _form(part: Part, name: str, weight_of: WeightOf | None, device: torch.device) -> Form | None:
    module = part.adapter.modules[part.sources[name]]
    if not needs_weight(module):
        return form_of(module, device=device)
    if weight_of is None:
        return None
    try:
        weight = weight_of(name)
    except LookupError:
        return None
    try:
        return form_of(module, lambda: weight, device)
    except (RuntimeError, IndexError, ValueError) as error:
        raise NotFusable(
            f"{part.adapter.path} does not fit the base: {name} has a weight of {list(weight.shape)} "
            f"({str(error).splitlines()[0]}).",
            hint="The adapter was trained on another model, or its file is damaged.",
        ) from error


def _gram(forms: Sequence[Form | None]) -> tuple[torch.Tensor, Joined | None]:
    gram = torch.zeros(len(forms), len(forms), dtype=torch.float64)
    thin = [(at, form) for at, form in enumerate(forms) if isinstance(form, LowRank)]
    joined = join(thin) if thin else None
    if joined is not None:
        at = torch.tensor([at for at, _ in thin])
        gram[at[:, None], at] = joined.inner_products()
    for i, one in enumerate(forms):
        for j, other in enumerate(forms[: i + 1]):
            both_thin = isinstance(one, LowRank) and isinstance(other, LowRank)
            if one is not None and other is not None and not both_thin:
                gram[i, j] = gram[j, i] = inner(one, other)
    return gram, joined
