"""Tracing files against files: what `lorakit.trace` does, and how a suspect is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.formats.header import read_header
from lorakit.formats.inspection import inspect
from lorakit.formats.peft_folder import adapter_file
from lorakit.sketches.adapters import WeightOf, null_sketches, sketch_adapter
from lorakit.sketches.fingerprint import Fingerprint, is_fingerprint, read_fingerprint
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.sketches.sketch import Sketch
from lorakit.sketches.whole import weights_in
from lorakit.tracing.known import Known, held_by
from lorakit.tracing.report import NullKind, Trace, TraceReport
from lorakit.tracing.telling_apart import Kind
from lorakit.tracing.trace import trace_sketch

AnyPath = str | PathLike[str]

# How many nulls of each kind are made of an adapter that was found.
_NULLS = 8
# In place of models of the table: what a person calls a base, and what may have been made from it.
_BASE, _CANDIDATE = "base", "candidate"


@dataclass(frozen=True)
class Suspect:
    """What is traced: where it is, what it is, and its sketch."""

    path: Path
    kind: Kind
    sketch: Sketch

    def report(self, traces: tuple[Trace, ...]) -> TraceReport:
        """The report of what was found in it."""
        values = sum(map(len, self.sketch.values.values()))
        return TraceReport(
            self.path,
            self.kind,
            self.sketch.dtype,
            self.sketch.blocks,
            values,
            traces,
            self.sketch.undecided,
        )


def trace(
    suspect: AnyPath, base: AnyPath | Sequence[AnyPath] | None, candidates: Sequence[AnyPath]
) -> TraceReport:
    """What the file `suspect` holds of each of `candidates`, by weights alone.

    `suspect` is a checkpoint (a file, its shards or a folder) or an adapter, `candidates` are
    checkpoints, adapters or fingerprints. `base` is the model that the checkpoints among them were made
    from; of several, for each the one of which its weights tell so; None where it is not at hand, which
    leaves relatives undecided. No catalog is read or written, and a model's `content` in the report is
    its path. Raises `NotFound` for a missing file and `BadFile` for what is none of these, or damaged,
    and `BadUsage` without candidates.
    """
    if not candidates:
        raise BadUsage("There is nothing to look for.", hint="Give the files of candidates.")
    paths = [base] if isinstance(base, str | PathLike) else list(base or ())
    bases = [_known(Path(path), _BASE, None) for path in paths]
    declared = bases[0].content if len(bases) == 1 else None
    weight_of = weights_in(bases[0].path) if bases and bases[0].path else None
    wanted = [_known(Path(path), _CANDIDATE, declared, weight_of) for path in candidates]
    found = read_suspect(Path(suspect), weight_of)
    traces = trace_sketch(
        found.sketch,
        found.kind,
        [*bases, *wanted],
        about=wanted,
        ancestors={_BASE: (), _CANDIDATE: (_BASE,)},
        nulls_of=nulls_of,
    )
    return found.report(traces)


def read_suspect(path: Path, weight_of: WeightOf | None) -> Suspect:
    """The checkpoint or adapter at `path`, sampled, or the fingerprint of one.

    Adapters such as DoRA are worked out against the weights that `weight_of` gives. Raises `NotFound`,
    and `BadFile` for what is neither.
    """
    path = adapter_file(path)
    if not path.exists():
        raise NotFound(f"There is no file {path}.")
    mark = _fingerprint(path)
    if mark is not None:
        return Suspect(path, "checkpoint" if mark.kind == "base" else "adapter", mark.sketch)
    adapter = adapter_in(path)
    if adapter is not None:
        return Suspect(path, "adapter", sketch_adapter(adapter, weight_of))
    try:
        return Suspect(path, "checkpoint", sketch_checkpoint(path))
    except BadFile as error:
        if not _is_safetensors(path):
            raise
        raise BadFile(f"{error.message} Nor is it an adapter for one.", hint=error.hint) from error


def adapter_in(path: Path) -> Adapter | None:
    """The adapter at `path`; None for what is none, such as a checkpoint or a folder."""
    if path.is_dir() or path.suffix == ".json":
        return None
    try:
        report = inspect(path, hashes=False)
    except BadFile:
        return None
    return load_adapter(path) if report.modules else None


def nulls_of(known: Known) -> Mapping[NullKind, list[Sketch]]:
    """Nulls of an adapter whose file is here: every second has its signs, the others their pairs anew."""
    adapter = None if known.path is None else adapter_in(known.path)
    if adapter is None:
        return {}
    made = null_sketches(adapter, 0, 2 * _NULLS)
    return {"sign-flipped": made[0::2], "rank-permuted": made[1::2]}


def _known(path: Path, model: str, parent: str | None, weight_of: WeightOf | None = None) -> Known:
    """A file as a model that may be recognised."""
    mark = _fingerprint(path) if path.exists() else None
    if mark is not None:
        return Known(str(path), mark.name, held_by(mark.kind), mark.sketch, model, parent)
    found = read_suspect(path, weight_of)
    holds = held_by("base" if found.kind == "checkpoint" else "adapter")
    return Known(str(path), path.stem, holds, found.sketch, model, parent, path)


def _fingerprint(path: Path) -> Fingerprint | None:
    """The fingerprint at `path`; None for another file. Raises `BadFile` for a damaged one."""
    if not _is_safetensors(path):
        return None
    return read_fingerprint(path) if is_fingerprint(read_header(path).metadata) else None


def _is_safetensors(path: Path) -> bool:
    """Whether a file has a sound header, whatever it holds."""
    if path.is_dir() or path.suffix == ".json":
        return False
    try:
        return bool(read_header(path))
    except BadFile:
        return False
