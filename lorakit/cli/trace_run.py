"""From the words of `lorakit trace FILE` to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.cli.output import Progress, warn
from lorakit.errors import BadFile, LorakitError, NotFound
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.adapters.adapter import Adapter
    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord
    from lorakit.sketches.adapters import WeightOf
    from lorakit.sketches.sketch import Sketch
    from lorakit.tracing.known import Known
    from lorakit.tracing.report import NullKind, TraceReport
    from lorakit.tracing.trace import Kind

# How many nulls of each kind are made of an adapter that was found.
_NULLS = 8


@dataclass(frozen=True)
class Suspect:
    """What is traced: where it is, what it is, and its sketch."""

    path: Path
    kind: Kind
    sketch: Sketch


def trace_file(
    catalog: Catalog,
    name: str,
    wanted: Sequence[str],
    *,
    deep: bool,
    on_progress: Progress,
) -> TraceReport:
    """Trace the file `name` against the models `wanted`, or against all that the catalog knows.

    Raises `NotFound` and `Ambiguous` for names, and `BadFile` for a file that is neither a checkpoint nor
    an adapter.
    """
    from lorakit.licenses.known import lineages
    from lorakit.tracing.candidates import known_adapters, known_weights
    from lorakit.tracing.report import TraceReport
    from lorakit.tracing.trace import trace_sketch

    path = _find(catalog, name)
    weights = known_weights(catalog, on_progress, warn)
    on_progress(0, 0, f"reading {path.name}")
    suspect = _read(path, weights)
    records = _adapters(catalog, weights, wanted)
    adapters = known_adapters(catalog, records, on_progress, warn, lambda r: _model(catalog, r))
    everyone = [*weights, *adapters]
    about = _wanted(everyone, wanted, path)
    on_progress(0, 0, "comparing")
    traces = trace_sketch(
        suspect.sketch,
        suspect.kind,
        everyone,
        about=about,
        ancestors=lineages(),
        nulls_of=_nulls_of,
    )
    if deep:
        from lorakit.cli.trace_deep import deepened

        traces = deepened(suspect, traces, on_progress)
    values = sum(map(len, suspect.sketch.values.values()))
    return TraceReport(
        path,
        suspect.kind,
        suspect.sketch.dtype,
        suspect.sketch.blocks,
        values,
        traces,
        suspect.sketch.undecided,
    )


def _find(catalog: Catalog, name: str) -> Path:
    """The file that `name` means: a path, else a base or an adapter of the catalog."""
    path = expanded(name)
    if path.exists():
        return path
    with suppress(NotFound):
        return catalog.base(name).path
    try:
        record = catalog.resolve(name)
    except NotFound as error:
        raise NotFound(f"There is no file, base or adapter {name}.") from error
    return record.existing_path()


def _read(path: Path, known: Sequence[Known]) -> Suspect:
    from lorakit.sketches.reading import sketch_checkpoint

    adapter = None if path.is_dir() else _adapter(path)
    if adapter is None:
        return Suspect(path, "checkpoint", sketch_checkpoint(path))
    from lorakit.sketches.adapters import sketch_adapter

    return Suspect(path, "adapter", sketch_adapter(adapter, _some_weights(known)))


def _adapter(path: Path) -> Adapter | None:
    """The adapter at `path`; None for what is none, such as a checkpoint."""
    from lorakit.formats.inspection import inspect

    try:
        report = inspect(path, hashes=False)
    except BadFile:
        return None
    if not report.modules:
        return None
    from lorakit.adapters.loading import load_adapter

    return load_adapter(path)


def _some_weights(known: Sequence[Known]) -> WeightOf | None:
    """The weights of a registered base, which adapters such as DoRA are worked out against."""
    from lorakit.tracing.weights import weights_in

    paths = [one.path for one in known if one.path is not None]
    try:
        return weights_in(paths[0]) if paths else None
    except LorakitError:
        return None


def _adapters(
    catalog: Catalog, weights: Sequence[Known], wanted: Sequence[str]
) -> list[AdapterRecord]:
    """The adapters to look for: all, or those that are named and are no base or fingerprint."""
    if not wanted:
        return catalog.adapters()
    names = {known.name for known in weights}
    return [catalog.resolve(name) for name in wanted if name not in names]


def _wanted(everyone: Sequence[Known], wanted: Sequence[str], path: Path) -> list[Known]:
    """Those that are named, or all but the suspect itself where it is one of them."""
    if wanted:
        weights = [known for known in everyone if known.holds == "weights" and known.name in wanted]
        return weights + [known for known in everyone if known.holds == "change"]
    real = path.resolve()
    return [known for known in everyone if known.path is None or known.path.resolve() != real]


def _model(catalog: Catalog, record: AdapterRecord) -> str | None:
    """Which model of the table an adapter is, by what was said of it or by its name."""
    from lorakit.licenses.known import by_name

    for claim in catalog.claims(record.tensor_sha256):
        if claim.model is not None and claim.origin in ("user", "table"):
            return claim.model
    return by_name(record.title, adapter=True) or by_name(record.name, adapter=True)


def _nulls_of(known: Known) -> Mapping[NullKind, list[Sketch]]:
    """Nulls of an adapter whose file is here: every second has its signs, the others their pairs anew."""
    adapter = None if known.path is None else _adapter(known.path)
    if adapter is None:
        return {}
    from lorakit.sketches.adapters import null_sketches

    made = null_sketches(adapter, 0, 2 * _NULLS)
    return {"sign-flipped": made[0::2], "rank-permuted": made[1::2]}
