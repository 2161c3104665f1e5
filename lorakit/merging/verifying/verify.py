"""Whether a file holds what it says it was made from: made again in memory and compared, nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.bases import ChosenBase, choose_base
from lorakit.counting import counted_rows
from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.formats.ancestry import INGREDIENTS_KEY, MADE_KEY, Ancestor, read_ancestry
from lorakit.formats.grouping import group_keys
from lorakit.formats.header import Header, read_header
from lorakit.fusion.base import open_base
from lorakit.fusion.devices import kind_of
from lorakit.gate.derived import Progress
from lorakit.merging.provenance import read_made
from lorakit.merging.verifying.change_products import Weighted, adapter_products
from lorakit.merging.verifying.checkpoint import is_checkpoint, verify_checkpoint
from lorakit.merging.verifying.deviations import Deviation, deviation, stored_tensor
from lorakit.merging.verifying.fitting import Products, fit
from lorakit.merging.verifying.ingredients import Ingredients, entries_text, find_recorded
from lorakit.merging.verifying.recipe import beside_root, recipe_differs
from lorakit.merging.verifying.replay import Replay, replayed
from lorakit.merging.verifying.verification import Outcome, Verification, looks_of
from lorakit.stack import ResolvedEntry, Stack, resolve_stack
from lorakit.strengths import Strength

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

# How far rounding its factors may move a change, by the dtype they are stored in.
_ROUNDING: Mapping[str, float] = MappingProxyType({"BF16": 2**-8, "F16": 2**-11, "F32": 1e-5})
# Singular vectors that lie close mix otherwise on another machine, and where they are cut off the change
# moves with them: methods that cut by size moved one by 6e-5 there.
_MIXING = 1e-4


@dataclass(frozen=True)
class _Asked:
    """What is known of the file's making: the header's record and ingredients, or a recipe in their place."""

    header: Header
    made: Mapping[str, Any] | None
    recipe: tuple[ResolvedEntry, ...] | None
    base: ChosenBase | None
    recorded: tuple[Ancestor, ...]


def verify(
    catalog: Catalog,
    path: str | Path,
    *,
    recipe: Stack | None = None,
    base: str | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> Verification:
    """Make the adapter or merged checkpoint at `path` again, as its header says, and compare.

    Ingredients are found in `catalog` by the hashes in the header. `recipe` takes their place, with its
    strengths, and `base` that of the checkpoint it was made on or with. A file without a record is
    compared with what `recipe` should give. Files are only read.

    Raises `NotFound` that names every ingredient which is not here, `LorakitError` for a file that does
    not say how it was made, and `BadFile` for one that cannot be read.
    """
    header = read_header(path)
    asked = _Asked(
        header,
        _record(header),
        None if recipe is None else resolve_stack(recipe, catalog),
        choose_base(catalog, base) if base is not None else None,
        read_ancestry(header.metadata) if INGREDIENTS_KEY in header.metadata else (),
    )
    if is_checkpoint(header):
        if asked.recipe is not None:
            found = Ingredients((_base_of(catalog, asked),), asked.recipe)
        else:
            found = find_recorded(catalog, _require_record(asked), base=asked.base)
        if len(found.bases) != 1:
            raise _unknown(header)
        result = verify_checkpoint(header, found.bases[0], found.entries, on_progress)
    elif asked.made is None or (asked.recipe is not None and asked.made["verb"] != "merge"):
        found = Ingredients((), asked.recipe or ())
        result = _compare_change(asked, on_progress)
    else:
        found = _ingredients(catalog, asked)
        result = _compare_replay(asked, asked.made, found, on_progress)
    replaced = asked.recipe is not None and result.to_the_bit
    return replace(
        result,
        recipe=recipe_differs(asked.recorded, found.entries) if replaced and asked.recorded else (),
        remarks=(*result.remarks, *beside_root(found.entries)),
    )


def _record(header: Header) -> Mapping[str, Any] | None:
    made = read_made(header.metadata)
    if made is None and MADE_KEY in header.metadata:
        raise BadFile(
            f"{header.path} has a record of how it was made that cannot be read.",
            hint="--recipe STACK compares it with what a stack should give.",
        )
    return made if made is not None and isinstance(made.get("verb"), str) else None


def _require_record(asked: _Asked) -> tuple[Ancestor, ...]:
    if not asked.recorded:
        raise _unknown(asked.header)
    return asked.recorded


def _unknown(header: Header) -> LorakitError:
    return LorakitError(
        f"{header.path} does not say how it was made.",
        hint="--recipe STACK compares it with what a stack should give, and --base names the model.",
    )


def _base_of(catalog: Catalog, asked: _Asked) -> ChosenBase:
    """The base that was named, the one that is recorded, or the only one that is registered."""
    if asked.base is not None:
        return asked.base
    recorded = [one for one in asked.recorded if one.role == "base"]
    if recorded:
        return find_recorded(catalog, recorded[:1]).bases[0]
    return choose_base(catalog, None)


def _compare_replay(
    asked: _Asked, made: Mapping[str, Any], found: Ingredients, on_progress: Progress
) -> Verification:
    """An adapter that lorakit wrote against one that is made in the same way, to the bit."""
    again = replayed(made, found, on_progress)
    header = asked.header
    modules = {
        info.name: module.name
        for module in group_keys(header).modules
        for info in module.parts.values()
    }
    deviations = []
    for key, expected in again.tensors.items():
        if key in header.tensors:
            one = deviation(key, modules.get(key, key), expected, stored_tensor(header, key))
            deviations += [one] if one else []
    missing = tuple(key for key in again.tensors if key not in header.tensors)
    extra = tuple(key for key in header.tensors if key not in again.tensors)
    values = sum(tensor.numel() for tensor in again.tensors.values())
    how = f"what {made['verb']} makes of {_named(found)}"
    same = not (deviations or missing or extra)
    if same:
        return Verification(
            header.path, "adapter", "identical", how, True, len(again.tensors), values
        )
    products, names, remarks = _explained(asked, made, found, again)
    fitted = fit(products, _count(header)) if products else None
    looks = looks_of(names, fitted) if fitted else ()
    striking = any(look.striking for look in looks)
    close = _computes(made) and not striking and _is_rounding(header, deviations, products)
    outcome: Outcome = "rounding" if close and not (missing or extra) else "differs"
    return Verification(
        header.path,
        "adapter",
        outcome,
        how,
        True,
        len(again.tensors),
        values,
        _worst_first(deviations),
        missing,
        extra,
        fitted,
        looks,
        (*remarks, *_elsewhere(made, again)),
    )


def _computes(made: Mapping[str, Any]) -> bool:
    """Whether the verb computes at all: what copies and rounds gives the same bits on every machine."""
    return made["verb"] in ("merge", "resize", "extract") or "dora_to_lora" in made["options"]


def _is_rounding(
    header: Header, deviations: Sequence[Deviation], products: Sequence[Products]
) -> bool:
    """Whether all that differs is noise, and where it is more than a step each module's change the same."""
    if not all(one.explained for one in deviations):
        return False
    moved = {one.module for one in deviations if one.beyond}
    allowed = max(_tolerance(header), _MIXING) ** 2
    measured = {one.module for one in products}
    same = (one.error <= allowed * float(one.gram.sum()) for one in products if one.module in moved)
    return moved <= measured and all(same)


def _elsewhere(made: Mapping[str, Any], again: Replay) -> tuple[str, ...]:
    """What to know where the device that the file was made on is not here."""
    if again.device == kind_of(made["device"]):
        return ()
    return (
        f"It was made on {made['device']}, which is not here, and made again on {again.device}, which rounds "
        "otherwise.",
    )


def _named(found: Ingredients) -> str:
    """The ingredients as a person names them."""
    return " ".join([*(base.name for base in found.bases), entries_text(found.entries)]).strip()


def _ingredients(catalog: Catalog, asked: _Asked) -> Ingredients:
    if asked.recipe is None:
        return find_recorded(catalog, _require_record(asked), base=asked.base)
    needs = [one for one in asked.recorded if one.role == "base"]
    bases = (_base_of(catalog, asked),) if asked.base or needs else ()
    return Ingredients(bases, asked.recipe)


def _explained(
    asked: _Asked, made: Mapping[str, Any], found: Ingredients, again: Replay
) -> tuple[list[Products], list[tuple[str, Strength]], tuple[str, ...]]:
    """What is fitted to the difference from `again`: a sum's entries, of other verbs the whole."""
    additive = made["verb"] == "merge" and made.get("method", "sum") == "sum"
    if additive:
        names = [(entry.name, entry.strength) for entry in found.entries]
        entries: Weighted = [(load_adapter(e.path), e.strength) for e in found.entries]
    else:
        names, entries = [("the whole", Strength())], [(again.adapter, Strength())]
    base = open_base(found.bases[-1].path) if found.bases else None
    try:
        here = load_adapter(asked.header.path)
        products = list(adapter_products(here, again.adapter, entries, base))
    except LorakitError as error:
        return [], names, (f"Which strengths would explain it is not known: {error.message}",)
    return products, names, ()


def _compare_change(asked: _Asked, on_progress: Progress) -> Verification:
    """An adapter of any origin against what a recipe should give, by what both change."""
    header = asked.header
    if asked.recipe is None:
        raise _unknown(header)
    if not asked.recipe:
        raise BadUsage("The recipe is empty, so there is nothing to compare with.")
    on_progress(0, 0, "comparing")
    here = load_adapter(header.path)
    entries: list[tuple[Adapter, Strength]] = [
        (load_adapter(entry.path), entry.strength) for entry in asked.recipe
    ]
    base = open_base(asked.base.path) if asked.base else None
    fitted = fit(list(adapter_products(here, None, entries, base)), _count(header))
    looks = looks_of([(entry.name, entry.strength) for entry in asked.recipe], fitted)
    striking = any(look.striking for look in looks)
    close = fitted.error <= _tolerance(header) and not striking
    return Verification(
        header.path,
        "adapter",
        "rounding" if close else "differs",
        f"what {entries_text(asked.recipe)} should give",
        False,
        len(header.tensors),
        _count(header),
        fit=fitted,
        looks=looks,
        remarks=_unused(here),
    )


def _unused(adapter: Adapter) -> tuple[str, ...]:
    keys = adapter.unused_keys
    if not keys:
        return ()
    return (
        f"{counted_rows(len(keys), 'key')} of it, such as {keys[0]}, changes nothing known, and is not compared."
        if len(keys) == 1
        else f"{len(keys):,} of its keys, such as {keys[0]}, change nothing known, and are not compared.",
    )


def _tolerance(header: Header) -> float:
    """What rounding its factors to the dtype most of them have may do to a change."""
    dtypes = Counter(info.dtype for info in header.tensors.values() if len(info.shape) > 1)
    known = [_ROUNDING.get(dtype, 0.0) for dtype, _ in dtypes.most_common(1)]
    return max(known, default=0.0)


def _count(header: Header) -> int:
    """How many numbers the file's tensors hold."""
    return sum(torch.Size(info.shape).numel() for info in header.tensors.values())


def _worst_first(deviations: Sequence[Deviation]) -> tuple[Deviation, ...]:
    """Those of another shape first."""
    return tuple(
        sorted(deviations, key=lambda one: (one.shapes is None, -(one.relative or 0.0), one.key))
    )
