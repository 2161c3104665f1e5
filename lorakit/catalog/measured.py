"""Norms of bases, and how much adapters change them, measured once and kept by content.

The norms of a base are kept under its own content, what an adapter changes under the adapter's, for each base.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lorakit.catalog.derived import derived, derived_of, keep_derived
from lorakit.counting import counted_rows
from lorakit.errors import NotFusable
from lorakit.formats import anima
from lorakit.formats.variants import SIZES, block_map, renumber_module

if TYPE_CHECKING:
    from pathlib import Path

    from lorakit.adapters.adapter import Adapter
    from lorakit.catalog.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord, BaseRecord

NORMS = "base norms 2"
_SIZE = "delta size 2"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DeltaSize:
    """How much an adapter at strength 1 changes a base: ‖delta‖ / ‖W‖, Frobenius norms.

    `overall` is over all linear layers of the base, whether the adapter changes them or not, as in `lorakit
    check`: an embedding counts only where it is changed. `components` are the same for each component by
    itself, and `touched` counts the changed matrices alone. `modules` is how many of them there are, and
    `left_out` of how many more the change could not be worked out. The text encoder is no part of a base.
    """

    overall: float
    touched: float
    modules: int
    left_out: int = 0
    components: Mapping[str, float] = field(default_factory=dict)


def kept_sizes(catalog: Catalog, base: BaseRecord) -> dict[str, DeltaSize]:
    """How much each adapter of the catalog that was measured on `base` changes it, by its content."""
    kept = {} if base.tensor_sha256 is None else derived(catalog, f"{_SIZE} {base.tensor_sha256}")
    if not kept:
        return {}
    there = {content for (content,) in catalog._store.read("SELECT tensor_sha256 FROM adapter")}
    found = ((content, _size(data)) for content, data in kept.items() if content in there)
    return {content: size for content, size in found if size is not None}


def measure_size(catalog: Catalog, record: AdapterRecord, base: BaseRecord) -> DeltaSize:
    """How much an adapter changes `base`, measured now and kept.

    Raises `NotFound` and `BadFile` where its file or the base's is missing, changed or damaged, and
    `NotFusable` for an algorithm that lorakit does not apply.
    """
    from lorakit.adapters.loading import load_adapter

    norms = base_norms_of(catalog, base)
    found = size_of(load_adapter(record.existing_path()), norms, base.blocks, base.path)
    if base.tensor_sha256 is not None:
        data = json.dumps(asdict(found), separators=(",", ":")).encode()
        keep_derived(catalog, f"{_SIZE} {base.tensor_sha256}", {record.tensor_sha256: data})
    return found


def size_of(adapter: Adapter, norms: Mapping[str, float], blocks: int, base: Path) -> DeltaSize:
    """How much an adapter changes the base at `base`, whose matrices have `norms` and stand in `blocks`.

    The base is read only where the change of a module depends on its weight. Raises `NotFusable` for an
    adapter that was made for a model of another size.
    """
    from lorakit.sketches.norms import delta_norms, joined, relative
    from lorakit.sketches.whole import weights_in

    names = _names_in(adapter, blocks)
    found = delta_norms(adapter)
    if found.keys() != adapter.modules.keys():
        weight_of = weights_in(base)
        found = delta_norms(adapter, lambda name: weight_of(names[name]))
    on_base = {names[name]: norm for name, norm in found.items()}
    within = [name for name in adapter.modules if anima.component_of(name) != "text_encoder"]
    changed = {name: norms[name] for name in on_base if name in norms}
    counted = {n: norm for n, norm in norms.items() if n in changed or not anima.is_embedding(n)}
    whole = {component: _of(counted, component) for component in anima.COMPONENTS}
    return DeltaSize(
        _short(relative(on_base, counted) or 0.0),
        _short(joined(on_base[name] for name in changed) / (joined(changed.values()) or 1.0)),
        len(changed),
        sum(names[name] not in changed for name in within),
        {
            component: _short(relative(on_base, own) or 0.0)
            for component, own in whole.items()
            if any(name in changed for name in own)
        },
    )


def _names_in(adapter: Adapter, blocks: int) -> dict[str, str]:
    """What the base with so many blocks calls the modules of an adapter."""
    names = {name: name for name in adapter.modules}
    touched, made_for = adapter.report.blocks, adapter.report.model_blocks
    if not touched or made_for == blocks or (blocks not in SIZES and touched[-1] < blocks):
        # Of a base of no published size, the numbers of blocks are its own.
        return names
    if made_for not in SIZES or blocks not in SIZES or made_for > blocks:
        raise NotFusable(
            f"It changes block {touched[-1]} of a model of {_blocks(made_for)}; the base has {blocks}.",
            hint="Name a base of that size with --base.",
        )
    carried = block_map(made_for, blocks)
    return {name: renumber_module(name, carried) for name in names}


def _blocks(count: int | None) -> str:
    return "unknown size" if count is None else counted_rows(count, "block")


def _of(norms: Mapping[str, float], component: str) -> dict[str, float]:
    return {n: norm for n, norm in norms.items() if anima.component_of(n) == component}


def _size(data: bytes) -> DeltaSize | None:
    try:
        document: dict[str, Any] = json.loads(data)
        return DeltaSize(**document)
    except (ValueError, TypeError):
        return None


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def kept_base_norms(catalog: Catalog, base: BaseRecord) -> dict[str, float] | None:
    """‖W‖ of every matrix of a registered base by canonical module name, where it has been measured."""
    if base.tensor_sha256 is None:
        return None
    return _numbers(derived_of(catalog, NORMS, base.tensor_sha256))


def base_norms_of(
    catalog: Catalog, base: BaseRecord, on_progress: Progress = lambda done, total, what: None
) -> dict[str, float]:
    """The same, measured now where it has not been: that reads every weight of the base once.

    The first answer and all later ones are the same numbers, to the bit.

    Raises `NotFound` and `BadFile` when it has to be measured and the file is missing or changed.
    """
    from lorakit.sketches.norms import base_norms

    found = kept_base_norms(catalog, base)
    if found is None:
        found = base_norms(base.unchanged_path(), on_progress)
        if base.tensor_sha256 is not None:
            data = json.dumps(found, separators=(",", ":")).encode()
            keep_derived(catalog, NORMS, {base.tensor_sha256: data})
    return found


def _numbers(data: bytes | None) -> dict[str, float] | None:
    try:
        found = None if data is None else json.loads(data)
        return None if found is None else {name: float(value) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError):
        return None
