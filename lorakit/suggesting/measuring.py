"""Measuring how much adapters change a base, as far as it has not been done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from lorakit.catalog.measured import base_norms_of, kept_sizes, measure_size
from lorakit.errors import BadFile, NotFound, NotFusable

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog

Progress = Callable[[int, int, str], None]

# A median of so many does not move by more.
ENOUGH = 100


def the_base(catalog: Catalog, name: str | None) -> BaseRecord | None:
    """The base called `name`; left out, the one that most adapters were measured on, else one that is
    there.

    None where no base is registered. Raises `NotFound` and `Ambiguous` for a name.
    """
    if name is not None:
        return catalog.base(name)
    bases = catalog.bases()
    if len(bases) < 2:
        return next(iter(bases), None)
    return max(bases, key=lambda base: (len(kept_sizes(catalog, base)), not base.missing))


def measure(
    catalog: Catalog,
    wanted: Iterable[AdapterRecord],
    base: BaseRecord,
    others: Sequence[AdapterRecord] = (),
    on_progress: Progress = lambda done, total, what: None,
) -> dict[str, str]:
    """Measure `wanted`, and of `others` until there are enough to compare with; why some could not be.

    Each is kept at once, so that a run that is stopped goes on where it was. Raises `NotFound` and
    `BadFile` where the base's file is missing or changed.
    """
    known = kept_sizes(catalog, base)
    first = {record.tensor_sha256: record for record in wanted}
    more = {record.tensor_sha256: record for record in others if not record.missing}
    lacking = [record for content, record in first.items() if content not in known]
    rest = [one for content, one in more.items() if content not in known and content not in first]
    lacking += rest[: max(0, ENOUGH - len(known.keys() & more.keys()))]
    if not lacking:
        return {}
    base_norms_of(catalog, base, on_progress)
    failed: dict[str, str] = {}
    for number, record in enumerate(lacking):
        on_progress(number, len(lacking), record.name)
        try:
            measure_size(catalog, record, base)
        except (BadFile, NotFound, NotFusable) as error:
            failed[record.name] = error.message
    return failed
