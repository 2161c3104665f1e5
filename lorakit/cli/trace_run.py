"""From the words of `lorakit trace FILE` to its report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.cli.output import Progress, warn
from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.formats.peft_folder import adapter_file
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord
    from lorakit.sketches.adapters import WeightOf
    from lorakit.tracing.known import Known
    from lorakit.tracing.report import TraceReport
    from lorakit.tracing.telling_apart import Kind


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
    from lorakit.tracing.files import nulls_of, read_suspect
    from lorakit.tracing.trace import trace_sketch

    path = _find(catalog, name)
    weights = known_weights(catalog, on_progress, warn)
    on_progress(0, 0, f"reading {path.name}")
    suspect = read_suspect(path, _some_weights(weights))
    contents, records = _named(catalog, wanted)
    adapters = known_adapters(
        catalog,
        records if wanted else catalog.identified(catalog.adapters()),
        on_progress,
        warn,
        partial(_model, catalog),
    )
    everyone = [*weights, *adapters]
    if wanted:
        about = [known for known in weights if known.content in contents] + adapters
    else:
        about = [known for known in everyone if not _is_file(known, path)]
    on_progress(0, 0, "comparing")
    traces = trace_sketch(
        suspect.sketch,
        suspect.kind,
        everyone,
        about=about,
        ancestors=lineages(),
        nulls_of=nulls_of,
    )
    if deep:
        from lorakit.tracing.deepening import deepened

        _require_weights(path, suspect.kind)
        traces = deepened(path, traces, on_progress)
    return suspect.report(traces)


def made_from(known: Sequence[Known]) -> dict[str, str]:
    """By content, the name of the model that each was made from, as was said or as its weights show."""
    from lorakit.licenses.known import lineages
    from lorakit.tracing.own_change import Family
    from lorakit.tracing.relation import Relations

    family = Family(known, lineages(), Relations())
    return {
        one.content: own.parent.name
        for one in known
        for own in family.own_changes(one)
        if own.parent is not None
    }


def _require_weights(path: Path, kind: Kind) -> None:
    if kind == "adapter":
        raise BadUsage(
            f"--deep reads more weights of a checkpoint, and {path.name} is an adapter.",
            hint="Leave it out: an adapter is looked at as closely without it.",
        )


def _find(catalog: Catalog, name: str) -> Path:
    """The file that `name` means: a path, else a base or an adapter of the catalog."""
    path = adapter_file(expanded(name))
    if name and path.exists():
        return path
    with suppress(NotFound):
        return catalog.base(name).path
    try:
        record = catalog.resolve(name)
    except NotFound as error:
        raise NotFound(f"There is no file, base or adapter called {name!r}.") from error
    return record.existing_path()


def _some_weights(known: Sequence[Known]) -> WeightOf | None:
    """The weights of a registered base, which adapters such as DoRA are worked out against."""
    from lorakit.sketches.whole import weights_in

    paths = [one.path for one in known if one.path is not None]
    try:
        return weights_in(paths[0]) if paths else None
    except LorakitError:
        return None


def _named(catalog: Catalog, wanted: Sequence[str]) -> tuple[set[str], list[AdapterRecord]]:
    """What `wanted` names: contents of bases and fingerprints, and adapters."""
    from lorakit.tracing.kept import find_content

    contents: set[str] = set()
    records: list[AdapterRecord] = []
    for name in wanted:
        with suppress(NotFound):
            contents.add(find_content(catalog, name))
            continue
        try:
            records.append(catalog.resolve(name))
        except NotFound as error:
            raise NotFound(
                f"No base, fingerprint or adapter is called {name!r}.",
                hint="`lorakit trace known` and `lorakit ls` list them.",
            ) from error
    return contents, records


def _is_file(known: Known, path: Path) -> bool:
    return known.path is not None and known.path.resolve() == path.resolve()


def _model(catalog: Catalog, record: AdapterRecord) -> str | None:
    """Which model of the table an adapter is, by what was said of it or by its name."""
    from lorakit.licenses.known import by_name

    for claim in catalog.claims(record.tensor_sha256):
        if claim.model is not None and claim.origin in ("user", "table"):
            return claim.model
    return by_name(record.title, adapter=True) or by_name(record.name, adapter=True)
