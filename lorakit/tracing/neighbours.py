"""Which adapters of the catalog are alike by weights: coarsely all of them, exactly those that may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lorakit.catalog.derived import derived, keep_derived
from lorakit.catalog.relatives import Relative, keep_relatives
from lorakit.errors import BadFile, NotFound, NotFusable
from lorakit.tracing import coarse as coarse_parts
from lorakit.tracing.candidates import Progress, Warn
from lorakit.tracing.coarse import Coarse, coarse, cosines
from lorakit.tracing.kept import ensure_adapter_sketch, kept_fingerprint
from lorakit.tracing.similar import SAME_TENSORS, Likeness, Mixture, compare, mixture
from lorakit.tracing.strangers import surely_strangers

if TYPE_CHECKING:
    from lorakit.adapters.adapter import Adapter
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.sketches.sketch import Sketch
    from lorakit.tracing.arrays import Floats

# Coarse cosines of strangers stay below this; those of small adapters, of few modules, spread wider.
_WORTH_A_LOOK = 0.1
# Among a million pairs some hundreds of strangers come to 0.1, and none to this.
_WORTH_IT_AMONG_ALL = 0.16
_KEEP_EVERY = 50
# How many are compared exactly, whatever was asked for.
_MOST = 40
# Values of sketches in memory at once, of four bytes each; an adapter of 280 modules has 287,000.
_MOST_HELD = 40_000_000
# What is one of these is no sum of others.
_THE_SAME = ("same tensors", "same weights", "scaled", "nearly the same")
# No part of a sketch.
TEXT_ENCODER = "text_encoder"
# With fewer modules, the coarse part says too little to pass anything over.
_FEWEST_MODULES = 64


@dataclass(frozen=True)
class Neighbour:
    """An adapter of the catalog, and how it stands to the one that was asked about."""

    record: AdapterRecord
    likeness: Likeness


@dataclass(frozen=True, eq=False)
class Shelf:
    """The adapters that can be compared, with the coarse part of each.

    `records` are by content, each with every file that has it; `rows` are the coarse parts in the order
    of `contents`. `passed_over` says why others could not be compared, by name.
    """

    catalog: Catalog
    records: Mapping[str, Sequence[AdapterRecord]]
    contents: tuple[str, ...]
    rows: tuple[Coarse, ...]
    passed_over: Mapping[str, str]
    _sketches: dict[str, Sketch] = field(default_factory=dict)

    def components(self, content: str) -> Collection[str]:
        """The components that an adapter changes; none known for one that is not on the shelf."""
        return next((one.components for one in self.records.get(content, ())), ())

    def sketch(self, content: str) -> Sketch:
        """The sketch of an adapter on the shelf; those read last are at hand."""
        if content not in self._sketches:
            taken = sketch_of(self.catalog, self.records[content][0])
            # As if all were as large as this one: adapters of a collection mostly are.
            most = _MOST_HELD // max(sum(map(len, taken.values.values())), 1)
            while self._sketches and len(self._sketches) >= most:
                del self._sketches[next(iter(self._sketches))]
            self._sketches[content] = taken
        return self._sketches[content]


def sketch_of(
    catalog: Catalog, record: AdapterRecord, load: Callable[[Path], Adapter] | None = None
) -> Sketch:
    """The sketch of an adapter of the catalog, kept or taken now (`load` then reads the file).

    Raises `NotFound` and `BadFile` when it has to be taken and the file is missing, changed or damaged,
    and `NotFusable` for an algorithm that lorakit does not apply.
    """
    kept = catalog.sketch(record.tensor_sha256, "adapter")
    if kept is not None:
        return kept_fingerprint(catalog, kept).sketch
    path = record.existing_path()
    return ensure_adapter_sketch(catalog, record.tensor_sha256, path, record.name, load, trust=True)


def shelve(
    catalog: Catalog,
    records: Iterable[AdapterRecord],
    on_progress: Progress = lambda done, total, what: None,
) -> Shelf:
    """Make `records` ready for comparison; sketches that the catalog lacks are taken and kept."""
    by_content: dict[str, list[AdapterRecord]] = {}
    for record in records:
        by_content.setdefault(record.tensor_sha256, []).append(record)
    known = derived(catalog, coarse_parts.KIND)
    rows: dict[str, Coarse] = {}
    fresh: dict[str, bytes] = {}
    passed_over: dict[str, str] = {}
    for number, (content, same) in enumerate(by_content.items()):
        found = coarse_parts.from_bytes(known[content]) if content in known else None
        if found is None:
            on_progress(number, len(by_content), same[0].name)
            record = next((one for one in same if not one.missing), same[0])
            try:
                found = coarse(sketch_of(catalog, record))
            except (BadFile, NotFound, NotFusable) as error:
                passed_over[record.name] = error.message
                continue
            fresh[content] = coarse_parts.to_bytes(found)
            if len(fresh) >= _KEEP_EVERY:
                keep_derived(catalog, coarse_parts.KIND, fresh)
                fresh = {}
        if found.norm:
            rows[content] = found
        else:
            passed_over[same[0].name] = "What it changes depends on the base, or is nothing."
    keep_derived(catalog, coarse_parts.KIND, fresh)
    return Shelf(catalog, by_content, tuple(rows), tuple(rows.values()), passed_over)


def similar_to(
    shelf: Shelf, sketch: Sketch, content: str, *, limit: int = 10, but: int | None = None
) -> list[Neighbour]:
    """The adapters on the shelf that are alike to `sketch`, of `content`, the most alike first.

    `but` is the row of the adapter itself, where it is in the catalog.
    """
    (found,) = cosines(shelf.rows, [coarse(sketch)])
    return _neighbours(shelf, sketch, content, found, limit, but)


def all_neighbours(
    shelf: Shelf,
    limit: int,
    on_progress: Progress = lambda done, total, what: None,
    warn: Warn = lambda message: None,
) -> dict[str, list[Neighbour]]:
    """The neighbours of every adapter on the shelf, by content; those of the same content left out.

    What has less than a sixth in common with any other is passed over, and none are found for it.
    """
    found: dict[str, list[Neighbour]] = {}
    table = cosines(shelf.rows, shelf.rows)
    for number, content in enumerate(shelf.contents):
        few = len(shelf.rows[number].modules) < _FEWEST_MODULES
        near = np.abs(table[number]) > (0.0 if few else _WORTH_IT_AMONG_ALL)
        near[number] = False
        if not near.any():
            found[content] = []
            continue
        on_progress(number, len(shelf.contents), shelf.records[content][0].name)
        try:
            sketch = shelf.sketch(content)
            most = limit + len(shelf.records[content])
            near_ones = _neighbours(shelf, sketch, content, table[number], most, None)
        except (BadFile, NotFound, NotFusable) as error:
            warn(f"{shelf.records[content][0].name} is not compared: {error.message}")
            continue
        others = [one for one in near_ones if one.likeness is not SAME_TENSORS]
        found[content] = others[:limit]
    return found


def keep_neighbours(shelf: Shelf, found: Mapping[str, Sequence[Neighbour]]) -> None:
    """Keep what was found of contents on the shelf, for whoever looks at them or at what they are like."""
    near = {
        content: [
            _relative(one.record.tensor_sha256, one.likeness)
            for one in ones
            if one.record.tensor_sha256 != content
        ]
        for content, ones in found.items()
    }
    back: dict[str, dict[str, Relative]] = {}
    for content, ones in found.items():
        for one in ones:
            if (other := one.record.tensor_sha256) not in found:
                back.setdefault(other, {})[content] = _relative(content, one.likeness.back)
    # With those that could not be compared: another look would not find more.
    keep_relatives(shelf.catalog, len(shelf.records), near, back)


def _relative(content: str, likeness: Likeness) -> Relative:
    return Relative(content, likeness.kind, likeness.words, round(likeness.cosine, 6))


def explained(shelf: Shelf, sketch: Sketch, near: Sequence[Neighbour]) -> Mixture | None:
    """The sum of its relatives among `near` that an adapter is, where it is one; by place in `near`."""
    if any(one.likeness.kind in _THE_SAME for one in near):
        return None
    return mixture(sketch, [shelf.sketch(one.record.tensor_sha256) for one in near])


def _neighbours(
    shelf: Shelf, sketch: Sketch, content: str, coarsely: Floats, limit: int, but: int | None
) -> list[Neighbour]:
    same = (one for one in shelf.records.get(content, ()) if one.id != but)
    found = [Neighbour(one, SAME_TENSORS) for one in same]
    least = _WORTH_A_LOOK if len(sketch.values) >= _FEWEST_MODULES else 0.0
    for place in np.argsort(-np.abs(coarsely))[: max(_MOST, limit)]:
        other = shelf.contents[place]
        if other == content or abs(coarsely[place]) <= least:
            continue
        its_own = shelf.sketch(other)
        if surely_strangers(sketch, its_own):
            continue
        likeness = compare(sketch, its_own)
        if any(TEXT_ENCODER in shelf.components(one) for one in (content, other)):
            likeness = replace(likeness, but_text_encoder=True)
        if likeness.kind != "unrelated":
            found += (Neighbour(one, likeness) for one in shelf.records[other])
    found.sort(
        key=lambda one: (
            -abs(round(one.likeness.cosine, 6)),
            one.likeness.kind != "same tensors",
            one.record.name,
        )
    )
    return found[:limit]
