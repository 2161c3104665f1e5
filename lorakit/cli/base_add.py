"""What `lorakit base add` does: hashes, sketch and terms of a checkpoint, then its registration."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.cli.output import Output, Progress
from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.formats.model_files import INDEX_SUFFIX, is_folder, model_files
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from lorakit.catalog import BaseRecord, Catalog
    from lorakit.formats.checkpoint import Checkpoint
    from lorakit.sketches.sketch import Sketch

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Wanted:
    """What a person says of a base; None for what is left out, and stays what it was."""

    name: str | None
    model: str | None
    components: str | None
    on: str | None


def register(catalog: Catalog, file: str, wanted: Wanted, out: Output) -> BaseRecord:
    """Register the checkpoint at `file`: a file, a shard, an index of shards, or a folder.

    Its content and its sketch are kept. Warns of what it lacks.

    Raises `NotFound`, `BadFile`, `BadUsage`, `Refused` for terms looser than those of the same content,
    and `CatalogError` for a name that another base has.
    """
    from lorakit.catalog.naming import check_name, name_of_file, normal

    path = expanded(file).absolute()
    if not is_file(path) and not is_folder(path):
        raise NotFound(f"There is no file or folder {file}.")
    stem = path.name.removesuffix(INDEX_SUFFIX) if path.name.endswith(INDEX_SUFFIX) else str(path)
    name = normal(name_of_file(stem) if wanted.name is None else wanted.name)
    check_name(name)
    components = _components(wanted.components)
    checkpoint = _checkpoint(path)
    with out.progress("Registering") as update:
        record, sketch = _store(catalog, checkpoint, name, wanted, components, update)
    _warn(out, checkpoint, sketch)
    return record


def _checkpoint(path: Path) -> Checkpoint:
    from lorakit.formats.checkpoint import read_checkpoint
    from lorakit.formats.header import read_header
    from lorakit.sketches.fingerprint import is_fingerprint

    (first, *others) = model_files(path)
    if not others and is_fingerprint(read_header(first.path).metadata):
        raise BadFile(
            f"{path} is the fingerprint of a model, with a sample of its weights only.",
            hint=f"`lorakit trace learn {shlex.quote(str(path))}` lets lorakit recognise that model.",
        )
    return read_checkpoint(path)


def _store(
    catalog: Catalog,
    checkpoint: Checkpoint,
    name: str,
    wanted: Wanted,
    components: str | None,
    update: Progress,
) -> tuple[BaseRecord, Sketch]:
    from lorakit.bases import UNNAMED_MODEL, own_components, require_not_looser
    from lorakit.formats.hashing import hash_model
    from lorakit.licenses.parts import keep_parts
    from lorakit.sketches.reading import sketch_checkpoint
    from lorakit.tracing.kept import find_content, keep_base_sketch, known_parent

    path = checkpoint.path
    stated = None if wanted.on is None else find_content(catalog, wanted.on)
    update(0, 0, f"hashing {path.name}")
    found = hash_model(path)
    hashes = found.whole
    if stated is not None:
        _refuse_circle(catalog, path, hashes.tensor_sha256, stated, wanted.on)
    before = next((base for base in catalog.bases() if base.name == name), None)
    model = wanted.model or (before.model if before else UNNAMED_MODEL)
    for file, own in {**found.parts, path: hashes}.items():
        require_not_looser(catalog, file, own.file_sha256, model, own.tensor_sha256)
    parent = stated or (before.parent if before else None)
    parent = parent or known_parent(catalog, hashes.tensor_sha256)
    update(0, 0, f"sampling {path.name}")
    sketch = sketch_checkpoint(path)
    record = catalog.add_base(
        path,
        name=name,
        model=model,
        prefix=checkpoint.prefix,
        blocks=checkpoint.blocks,
        dtype=checkpoint.dtype,
        components=components or (before.components if before else None) or own_components(path),
        file_sha256=hashes.file_sha256,
        tensor_sha256=hashes.tensor_sha256,
        parent=parent,
    )
    keep_parts(catalog, found)
    keep_base_sketch(catalog, record, sketch)
    return record, sketch


def _refuse_circle(
    catalog: Catalog, path: Path, content: str, parent: str, called: str | None
) -> None:
    from lorakit.tracing.kept import is_made_from

    if is_made_from(catalog, parent, content):
        same = parent == content
        raise BadUsage(
            f"{path.name} cannot be made from {called}: "
            + ("they are the same model." if same else f"{called} was made from it."),
            hint="--on names the model that this one was made from.",
        )


def _warn(out: Output, checkpoint: Checkpoint, sketch: Sketch) -> None:
    label = checkpoint.path.name
    if not checkpoint.has_llm_adapter:
        out.warn(f"{label} has no text adapter (llm_adapter.*), so it cannot render by itself.")
    if sketch.undecided:
        count = len(sketch.undecided)
        out.warn(
            f"Matrices of {label} that are stored in a form that cannot be sampled, and take no part when "
            f"lorakit recognises models: {count} of {len(sketch.values) + count}, such as "
            f"{sketch.undecided[0]}."
        )


def _components(source: str | None) -> str | None:
    """A folder is kept as an absolute path, a repository as it is; what is in them is checked when used.

    Raises `NotFound` for what is neither.
    """
    if source is None:
        return None
    folder = expanded(source)
    if source and os.path.isdir(folder):  # noqa: PTH112 (never raises)
        return str(folder.absolute())
    if os.path.exists(folder) or not _REPOSITORY.fullmatch(source):  # noqa: PTH110 (never raises)
        state = "is a file" if os.path.isfile(folder) else "does not exist"  # noqa: PTH113
        raise NotFound(
            f"The folder of components {source!r} {state}.",
            hint="Name a folder in diffusers' layout, ComfyUI's models folder, or a Hugging Face "
            "repository OWNER/NAME.",
        )
    return source
